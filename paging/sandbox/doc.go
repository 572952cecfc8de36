// Package sandbox is a provider that reaches nobody: it keeps every message where the console can show it, so that the way
// of a page can be seen and answered before a single account with a provider exists.
//
// It is a real provider to the rest of the product. It never loses an outcome, so it needs no look-up.
package sandbox
