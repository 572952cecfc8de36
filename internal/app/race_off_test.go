//go:build !race

package app

// raced says that the race detector is at work, which takes memory of its own.
const raced = false
