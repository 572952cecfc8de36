// Package console draws the pages for people: what is open and who has it, why, who was told and whether it reached them, who
// is on call, and the sandbox's outbox. Every page is whole without JavaScript; a small script of our own only keeps it fresh.
//
// It decides nothing: what people press goes through a Desk, what is shown is read from the store. It knows no session either:
// package api, which mounts Pages in its table of routes, says who is behind a request.
//
// A page is a template around one part that lives, which the script asks for again, by ?fragment=, when the live feed speaks.
// All that senders and people wrote passes two gates: html/template, which escapes it for its place, and visible, which every
// answer goes through as a whole and which shows controls and marks that would turn or hide text as what they are. No page
// has inline script or style, or anything from elsewhere; Policy says so to the browser.
package console
