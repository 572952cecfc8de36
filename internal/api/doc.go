// Package api is HTTP for people and machines: the doors that senders post to, the Alertmanager API, our own REST API, the
// providers' callbacks, and what operations need. routes.go lists every route there is; package console draws the pages.
//
// It decides nothing: what people command goes through Desk, what it shows is read from the store.
package api
