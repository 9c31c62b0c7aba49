// Catch2 2 makes its main function here; Catch2 3 brings it as a library.
#define CATCH_CONFIG_MAIN
#include "test.hpp"
