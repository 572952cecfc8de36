// Package storetest holds what every engine of the state must do. Each engine's tests call Run.
//
// It says nothing of speed, and nothing of how an engine does it.
package storetest
