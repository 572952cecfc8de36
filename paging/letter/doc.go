// Package letter makes a mail of a page: the plain text, and a simple HTML that any mail program and any screen reader shows.
//
// Both mail providers use it. It decides nothing about what is said: the words come written in the message.
package letter
