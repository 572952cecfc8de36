// Package kafka is the journal on Kafka, by segmentio/kafka-go: a topic of N partitions, shared by all nodes.
package kafka
