// Package client speaks to a running tocsin by HTTP: our own REST API (/api/v1), and the doors that alerts come in by.
//
// It is for programs that are not the server: the commands of cmd/tocsin, and tests. It decides nothing, keeps nothing and
// repeats nothing: one call is one request, and what the server refuses comes back as a *Problem in the server's own words.
//
// Every request has a time limit, every answer a size limit, and redirects are not followed, because a token must not go where
// it was not meant to go. Answers are read as far as they are known here: fields that a newer server adds are kept in Raw and
// do no harm.
package client
