// Command tocsin is the whole product in one binary: the server, the check of its configuration, and the commands by which
// people and scripts speak to a running server.
//
// It is not the place where anything is decided: serve, check and repair go to internal/app, all others are requests that
// internal/client makes. One file holds one command, or one group of them.
//
// main is one line. What it calls takes the world (arguments, input, output, environment, time zone) as arguments, so that
// the scripts in testdata/script type the commands as their users do.
package main
