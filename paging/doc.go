// Package paging decides who is told, when, and what if nobody answers, writes the texts, reads the answers, and sends.
//
// The decisions (Plan) are pure: they know no clock, no database and no network. Worker is the shell around them: it claims
// what is due, hands it to the providers' senders and records what became of it. One folder per provider.
// It does not decide what an incident is (correlate) nor who is on call (schedules): it asks by small interfaces.
package paging
