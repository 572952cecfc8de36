// Command bench measures the product from outside, as its users meet it: it builds ./cmd/tocsin, runs it as a child, sends
// alerts over HTTP and stands in for the provider that pages go to. Where Debian's Alertmanager is installed, that is driven
// in turn with it. The figures go to docs/figures.md.
//
// It is no test: nothing fails because a machine is slow. It is no general load generator either: targets off this machine are
// refused, and every run is bounded in time and size.
//
// # How a figure comes about
//
// Sender, provider and server share the machine's cores. Each run asks /proc who used them: the sender, the server with all its
// children, and everybody else. A run in which anybody else used more than 0.2 core is dropped and done again, at most twice;
// when it stays so, the least disturbed one counts, and the table says how disturbed it was. A figure is the median of its
// rounds, with the lowest and the highest beside it.
//
// An ingest rate counts only if tocsin_journal_lag_events is 0 within 2 s of the last POST; the server's CPU time is counted
// until then.
//
// # Layout
//
// main.go has the flags and the list of scenarios; one file for each scenario or pair of them (ingest, states, pages, memory,
// listing, idle, probes; on Kafka and PostgreSQL: shared, catchup, failover, reports, locked). acks.go acknowledges while a row is
// locked, aftermath.go says what came of it. ground.go starts Kafka and PostgreSQL and lends them to a run. server.go starts and stops what is measured, settings.go writes its configuration, send.go and
// client.go are the sender, pager.go the provider, proc.go and quiet.go say who used the machine, figures.go writes the table.
package main
