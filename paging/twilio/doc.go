// Package twilio sends pages by SMS and phone call through Twilio's API of 2010-04-01, and reads its callbacks.
//
// A page's id travels in the address of the callbacks, so a callback tells of its page even when the answer to the send was
// lost. Every callback is checked against the address that the configuration gives for us, never against the Host header.
// What an error code means stands in one table (faults.go). It does not decide whether to try again: the worker does.
//
// Twilio's lists do not show the callback address, so Find recognizes a message by its number, its time and its text or
// link; calls have no text there, so a call is recognized by number and time, and never twice by the same node.
package twilio
