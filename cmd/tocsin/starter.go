package main

import "path/filepath"

// starterPath is where "tocsin serve" without a configuration keeps its set-up.
var starterPath = filepath.Join("data", "starter.yaml")
