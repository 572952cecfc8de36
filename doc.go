// Package tocsin holds the words of the product: what an alert, an incident, a
// major, a page and a person are, and what keeps each of them valid.
//
// It decides nothing and does no I/O. Every other package speaks in these
// words, and none of them is known here.
package tocsin
