package kafka

import (
	"context"
	"fmt"

	"github.com/segmentio/kafka-go"
)

// Members returns how many processes share the partitions now, whether or not this one is among them. One that died counts until its
// session has ended.
func (j *Journal) Members(ctx context.Context) (int, error) {
	c := &kafka.Client{Addr: j.gate.addr, Transport: j.gate}
	res, err := c.DescribeGroups(ctx, &kafka.DescribeGroupsRequest{GroupIDs: []string{j.o.Group}})
	if err != nil {
		return 0, fmt.Errorf("ask for the members of group %s: %w", j.o.Group, err)
	}
	n := 0
	for _, g := range res.Groups {
		if g.Error != nil {
			return 0, fmt.Errorf("ask for the members of group %s: %w", j.o.Group, g.Error)
		}
		n += len(g.Members)
	}
	return n, nil
}
