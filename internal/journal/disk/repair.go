package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"time"
)

// Repair makes a folder that Open refuses one that it takes, and returns what it did and what is lost, a line each. Nothing
// is deleted: files that are of no use are renamed to end in .bad. No offset is used again: the journal goes on behind the
// highest that any of its files tells of. It is for an operator who has no backup of the file that Open named.
func Repair(dir string, o Options) (did []string, err error) {
	if o.FS == nil {
		o.FS = OS{}
	}
	o.Partitions = max(o.Partitions, 1)
	o.Log = slog.New(slog.DiscardHandler) // did says it all
	o.SegmentBytes = max(o.SegmentBytes, 1)
	lock, err := o.FS.Lock(filepath.Join(dir, lockName))
	if err != nil {
		return nil, fmt.Errorf("repair journal %s: lock: %w", dir, err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	j := &Journal{dir: dir, o: o}
	for n := range o.Partitions {
		r := repair{p: newPartition(j, n)}
		err := r.run()
		did = append(did, r.did...)
		if err != nil {
			return did, fmt.Errorf("repair journal %s: partition %d: %w", dir, n, err)
		}
	}
	return did, nil
}

// repair is the repair of one partition.
type repair struct {
	p    *partition
	high int64 // no offset below it is used again
	did  []string
}

func (r *repair) say(format string, args ...any) { r.did = append(r.did, fmt.Sprintf(format, args...)) }

func (r *repair) run() error {
	p := r.p
	bases, err := p.list()
	if errors.Is(err, fs.ErrNotExist) {
		return nil // Open makes it
	}
	if err != nil {
		return err
	}
	segments, err := r.usable(bases)
	if err != nil {
		return err
	}
	m, err := p.readManifest()
	_, damaged := errors.AsType[*DamageError](err)
	switch {
	case damaged || errors.Is(err, fs.ErrNotExist):
		r.say("the manifest was lost and is written anew")
	case err != nil:
		return err
	case len(segments) > 0 && m.salt != segments[0].salt:
		r.say("the manifest is of another journal and is written anew")
	default:
		p.salt = m.salt
		r.high = max(r.high, m.end)
	}
	for i, s := range segments {
		err = r.join(s, segments[:i], segments[i+1:])
		if err != nil {
			return err
		}
	}
	p.segments = segments
	return r.goOn()
}

// usable returns the segments whose header can be believed, and renames the others.
func (r *repair) usable(bases []int64) ([]*segment, error) {
	var all []*segment
	votes := map[uint32]int{}
	bad := map[int64]string{}
	for _, base := range bases {
		name := segmentName(r.p.dir, base)
		h, size, err := r.p.readSegment(name)
		_, damaged := errors.AsType[*DamageError](err)
		switch {
		case damaged:
			bad[base] = "its header is damaged"
		case err != nil:
			return nil, err
		case h.base != base || h.partition != uint32(r.p.n):
			bad[base] = "it does not belong here"
		default:
			votes[h.salt]++
			all = append(all, &segment{header: h, name: name, end: base, size: size, at: h.prevAt})
		}
	}
	for _, s := range all { // the salt that most have, the oldest of two that are as many
		if votes[s.salt] > votes[r.p.salt] {
			r.p.salt = s.salt
		}
	}
	kept := slices.DeleteFunc(all, func(s *segment) bool {
		if s.salt != r.p.salt {
			bad[s.base] = "it is of another journal"
		}
		return s.salt != r.p.salt
	})
	for _, base := range bases {
		if why := bad[base]; why != "" {
			name := segmentName(r.p.dir, base)
			r.say("%s was set aside: %s", name, why)
			err := r.p.fs.Rename(name, name+".bad")
			if err != nil {
				return nil, err
			}
		}
	}
	return kept, nil
}

// join reads s through, and writes its header anew where it does not say what stands before it.
func (r *repair) join(s *segment, before, after []*segment) (err error) {
	limit := s.size
	r.high = max(r.high, s.base)
	if len(after) > 0 && after[0].prevBase == s.base {
		limit = min(limit, after[0].prevSize) // what lies behind was never acknowledged
	}
	f, err := r.p.fs.Open(s.name, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	c, err := scanSegment(f, s.header, limit, limit)
	if err != nil {
		return err
	}
	s.end, s.at = c.end, c.at
	s.size = c.size
	if len(after) > 0 && after[0].prevBase == s.base && limit == after[0].prevSize {
		s.end, s.size = after[0].prevEnd, after[0].prevSize // damaged or not, it is as long as it was
	} else if len(after) > 0 {
		s.end = min(s.end, after[0].base)
	}
	r.high = max(r.high, s.end)
	if len(before) == 0 {
		if s.prevBase >= 0 {
			r.say("the journal begins at offset %d", s.base)
		}
		return nil
	}
	prev := before[len(before)-1]
	if s.prevBase == prev.base && s.prevEnd == prev.end && s.prevSize == prev.size {
		return nil
	}
	r.say("offsets %d to %d are lost", prev.end, s.base-1)
	s.prevBase, s.prevEnd, s.prevSize, s.prevAt, s.reason = prev.base, prev.end, prev.size, prev.at, reasonDamaged
	b := s.encode()
	for i := range int64(2) { // one copy is whole at any moment
		_, err = f.WriteAt(b[i*copySize:(i+1)*copySize], i*copySize)
		if err == nil {
			err = f.Sync()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// goOn writes the manifest and, where offsets behind the last entry are spent, a segment behind them.
func (r *repair) goOn() error {
	p := r.p
	if len(p.segments) == 0 {
		if r.high > 0 {
			r.say("no segment was of use; the journal goes on empty at offset %d", r.high)
		}
		if p.salt == 0 {
			p.salt = uint32(time.Now().UnixNano()) | 1
		}
		err := p.begin(header{partition: uint32(p.n), salt: p.salt, base: r.high, prevBase: -1, prevAt: p.at, reason: reasonDamaged}, false)
		if err != nil {
			return err
		}
		return p.file.Close()
	}
	last := p.segments[len(p.segments)-1]
	err := p.writeManifest(last)
	if err != nil || r.high <= last.end {
		return err
	}
	r.say("offsets %d to %d are lost", last.end, r.high-1)
	p.file, err = p.fs.Open(last.name, true)
	if err != nil {
		return err
	}
	p.zeroed = last.size
	err = p.roll(r.high, reasonDamaged)
	return errors.Join(err, p.file.Close())
}
