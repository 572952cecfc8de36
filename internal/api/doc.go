// Package api is HTTP for people and machines: the doors that senders post to, the Alertmanager API, our own REST API, the
// providers' callbacks, and what operations need. routes.go lists every route there is; package console draws the pages.
//
// It decides nothing: what people command goes through Desk, what it shows is read from the store. It knows no configuration
// file either: what a reload may change is asked for at each request, through the functions in Options.
//
// # Who may
//
// Each row of the table in routes.go has a rule, and a row without one is not served. A caller is known by a token of the
// configuration's access section (Authorization), by a browser's session (a cookie whose hash the store keeps), and on
// Alertmanager's read side also by the token of a source of kind alertmanager. Doors and callbacks ask for the sender's own
// credential. What comes with a cookie must come from our own pages (http.CrossOriginProtection).
//
// # What nobody can hold up
//
// Each look at the store takes one of three slots and never waits for a client: answers are gathered first, listings go chunk
// by chunk. So the store's other connections stay free for paging, whoever reads. Callbacks have sixteen slots, listings eight,
// live feeds 256; who finds none is told 503 with Retry-After. Bodies have a bound and ten seconds, answers a minute for
// each chunk.
//
// # Alertmanager's listing
//
// Alerts come in the order of their ids, not of their fingerprints, because they are written while they are read. In a filter,
// source is the name that the configuration gives the sender.
package api
