// Package config is the one place that knows the configuration file: what may stand in it, what it means where nothing is
// said, and every mistake in it with file, line, column and a cure.
//
// Load reads a file and what it includes. It works in four passes, and no pass stops at the first mistake:
//
//	bytes -> nodes      (document.go, node.go)  YAML by goccy/go-yaml; aliases and merge keys resolved; sizes bounded
//	nodes -> one tree   (include.go)            lists append, maps merge, a name twice is a mistake
//	tree  -> Config     (read*.go, one file a section) types, words, lengths, zones, matchers, expressions, secrets, defaults
//	Config -> problems  (check.go, doubt.go)    names that nobody defined, cycles, steps that page nobody; then what is legal
//	                                            but surely not meant
//
// A Config holds plain values with all defaults applied and all inheritance between rules worked out, so that whoever
// reads it asks for nothing twice. Things that can be named in a complaint carry the Place they stand at.
//
// It does not start anything, opens no network, and decides nothing about alerts or people: internal/app turns a Config
// into the parts of the product, and is the only one who imports this package. Secrets are read here (from the file, a file
// of their own or the environment), and never appear in a Problem.
package config
