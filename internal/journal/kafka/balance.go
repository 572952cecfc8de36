package kafka

import (
	"cmp"
	"encoding/binary"
	"slices"
	"sync"

	"github.com/segmentio/kafka-go"
)

// A balancer shares the first N partitions out, so that each member has as many as the others, or one more, and keeps of those
// that it had as many as it may: what does not move need not be loaded again. A partition beyond N falls to nobody.
type balancer struct {
	partitions int

	mu  sync.Mutex
	had []int // by this member, in the generation before
}

// ProtocolName tells this way of sharing from others: a group in which members follow different ones is refused by Kafka.
func (b *balancer) ProtocolName() string { return "tocsin-sticky" }

// UserData says to the group's leader what this member had.
func (b *balancer) UserData() ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var data []byte
	for _, n := range b.had {
		data = binary.AppendUvarint(data, uint64(n))
	}
	return data, nil
}

// keep remembers what this member has now.
func (b *balancer) keep(numbers []int) {
	b.mu.Lock()
	b.had = slices.Clone(numbers)
	b.mu.Unlock()
}

// AssignGroups is called on the group's leader.
func (b *balancer) AssignGroups(members []kafka.GroupMember, partitions []kafka.Partition) kafka.GroupMemberAssignments {
	out := kafka.GroupMemberAssignments{}
	byTopic := map[string][]int{}
	for _, p := range partitions {
		if p.ID < b.partitions {
			byTopic[p.Topic] = append(byTopic[p.Topic], p.ID)
		}
	}
	slices.SortFunc(members, func(a, b kafka.GroupMember) int { return cmp.Compare(a.ID, b.ID) })
	for _, m := range members {
		out[m.ID] = map[string][]int{} // a member that is left out here could not read its assignment
	}
	for topic, numbers := range byTopic {
		for id, mine := range share(numbers, members) {
			out[id][topic] = mine
		}
	}
	return out
}

// share is the sharing itself. members are sorted.
func share(numbers []int, members []kafka.GroupMember) map[string][]int {
	slices.Sort(numbers)
	out := map[string][]int{}
	if len(members) == 0 {
		return out
	}
	least, more := len(numbers)/len(members), len(numbers)%len(members)
	taken := map[int]bool{}
	for _, m := range members {
		for _, n := range hadBy(m) {
			if _, is := slices.BinarySearch(numbers, n); !is || taken[n] {
				continue
			}
			switch {
			case len(out[m.ID]) < least:
			case len(out[m.ID]) == least && more > 0:
				more--
			default:
				continue
			}
			taken[n] = true
			out[m.ID] = append(out[m.ID], n)
		}
	}
	next := 0
	give := func(m kafka.GroupMember, most int) {
		for ; next < len(numbers) && len(out[m.ID]) < most; next++ {
			if !taken[numbers[next]] {
				out[m.ID] = append(out[m.ID], numbers[next])
			}
		}
	}
	for _, m := range members {
		give(m, least)
	}
	for _, m := range members {
		if more > 0 && len(out[m.ID]) == least {
			give(m, least+1)
			more--
		}
	}
	for id := range out {
		slices.Sort(out[id])
	}
	return out
}

// hadBy returns what a member says that it had; a member that says nothing that can be read had nothing.
func hadBy(m kafka.GroupMember) []int {
	var had []int
	for data := m.UserData; len(data) > 0; {
		n, size := binary.Uvarint(data)
		if size <= 0 || n > 1<<20 {
			return nil
		}
		had = append(had, int(n))
		data = data[size:]
	}
	return had
}
