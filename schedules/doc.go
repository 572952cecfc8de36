// Package schedules says who is on call at an instant: layers of rotations, in civil time.
//
// A Schedule is what the configuration says; New checks it and makes a Rota of it, which answers At, OnCall, Shifts and Gaps.
// All four come from one function (layer.at), so that a preview, a calendar feed and the pager cannot differ. A Rota is never
// changed after New, and may be used by many goroutines. Apart from New, which loads time zones, nothing here does I/O, and
// nothing knows what time it is.
//
// # Civil time
//
// Everything in a layer is meant by the clock on the wall of its zone: "09:00" is 09:00 in summer and in winter, and so is a
// turn of 12h: it lasts 11 or 13 hours when the clocks change in it. What is due at a civil time happens at the first instant
// at which the clocks show that time or a later one. So a hand-over inside the spring gap happens when the gap ends, one on a
// day that the zone skipped happens when the next day begins, and one inside the autumn fold happens once, the first time.
//
// The code says the same with one number: the furthest civil second that a zone's clocks have reached by an instant (reached,
// in civil.go). It never falls, so turns and spans are plain arithmetic on it.
//
// It does not know who people are, what a fallback target means, or what happens when nobody is on call: package paging asks
// it by a small interface and decides that.
package schedules
