// Package app builds the parts of tocsin, joins them, starts and stops them. It is the only place where the packages that do
// not know each other meet: what one needs of another it asks for in an interface of its own, and app is where that is met.
//
// It alone reads package config. It decides nothing that could be decided in correlate, paging or schedules.
package app
