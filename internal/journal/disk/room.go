package disk

import "fmt"

// keepFree is what the journal leaves free of the file system that it is on: when a disk fills up, taking no more events is
// the first thing to happen, while what is known already can still be worked on, paged and acknowledged. It is more than the
// reserve that the embedded state gives back then, so that the journal does not eat that.
const keepFree = 24 << 20

// A roomy FS can say how many bytes of the file system are free. Others are used until a write fails.
type roomy interface {
	Free(dir string) (int64, error)
}

// hasRoom returns an error where less than keepFree would be left after n more bytes.
func (p *partition) hasRoom(n int64) error {
	r, ok := p.fs.(roomy)
	if !ok {
		return nil
	}
	free, err := r.Free(p.dir)
	if err != nil {
		return err
	}
	if free-n < keepFree {
		return fmt.Errorf("the disk is almost full: %s has %d MiB free, and %d MiB are kept for what is known already", p.dir, free>>20, int64(keepFree)>>20)
	}
	return nil
}
