package main

import (
	"encoding/json"

	"tocsin/internal/client"
)

// printOne asks the server by get and prints what it said: with --json as it wrote it, else by print.
func printOne[T any](c *connection, get func(*client.Client) (T, error), raw func(T) json.RawMessage, print func(T) error) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	v, err := get(cl)
	if err != nil {
		return err
	}
	if c.json {
		return printJSON(c.w.stdout, raw(v))
	}
	return print(v)
}

// printRaw prints a list under its name, each item as the server wrote it.
func printRaw[T any](c *connection, name string, list client.List[T], raw func(T) json.RawMessage) error {
	items := make([]json.RawMessage, len(list.Items))
	for i, x := range list.Items {
		items[i] = raw(x)
	}
	return printJSON(c.w.stdout, map[string]any{name: items, "more": list.More})
}
