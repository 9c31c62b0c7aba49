// Gives the examples' precompiled header something to be compiled with.
