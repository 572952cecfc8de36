// Package disk is the embedded journal: segment files in one folder, for one process.
//
// It is for the server that runs alone. It is not a database and not for two processes: a second one that opens the folder is
// refused. It knows no more of the payloads than their length.
//
// # Files
//
// The folder has a LOCK and one sub-folder a partition, with a MANIFEST and segments:
//
//	LOCK                                    flock
//	partition-0000/MANIFEST                 which segments there are, and how far the newest is known to reach
//	partition-0000/00000000000000000000.log the segment that begins with offset 0
//	partition-0000/00000000000000081920.log ...
//
// All numbers are little-endian, all times microseconds since 1970 UTC, all checksums CRC32C.
// Segment header: 64 bytes, written twice, so that one damaged copy does no harm:
//
//	0  magic "TOCSINJ"  7 version 1  8 partition u32  12 salt u32  16 base u64  24 base of the segment before i64, -1: none
//	32 end of the one before u64  40 its bytes u64  48 newest time before base i64  56 reason for base > end u32  60 checksum
//
// A header thus seals the segment before it: where that ended is known without reading it, and one that is missing, cut or
// exchanged is found at open. Then frames, one an entry, without padding:
//
//	0  salt u32  4 payload length u32  8 offset u64  16 time i64  24 place in its commit u32, from 0
//	28 checksum of the payload and the 28 bytes before u32  32 payload
//
// The salt is random for each partition, so that no sender can write a payload that is taken for a frame when one is sought
// behind damage. The manifest is 64 bytes, twice, too, and replaced by a rename:
//
//	0  magic "TOCSINM"  7 version 1  8 partition u32  12 salt u32  16 base of the first segment u64  24 of the newest u64
//	32 offset that the newest is known to reach u64  40 its bytes then u64  48 zeros  60 checksum
//
// # Writing
//
// Append copies its entries into the batch that gathers while the batch before is written, and waits. One goroutine a partition
// takes the batch, writes it with one write and one fdatasync, makes it readable, and answers everybody in it at once.
// What gathers is at most CommitBytes; who finds no room waits, as long as the caller's context says.
//
// A small commit into a file that grows costs two disk writes, one of them for the size. So small ones find zeros
// already written ahead of them; a row of zeros is where a scan ends. Roll cuts them off.
//
// # Failing
//
// When a write or a sync fails nobody can say what is on the disk, and the kernel has forgotten that it did not write it; a
// second sync that succeeds says nothing. So the batch and all who wait get ErrSick at once, and so does everyone
// who comes. Meanwhile a new segment is tried each half second: the old one is cut to its last commit
// that did succeed and is read again, the new one has room for a megabyte, and its base is above
// every offset that was ever handed out. Readers get a *GapError for those, with Skipped set.
// A disk that is almost full (24 MiB free) counts as a failure before it is one: what is known already needs that room more.
//
// # Opening
//
// Headers are read and compared, and only the newest segment is read through. Bytes behind the last good frame are a torn tail, cut
// and counted, unless frames of a later commit follow, or the manifest has seen them whole: then the medium
// is damaged, what is good behind it stays, and readers get a *GapError for what is not. A file that is missing, cut or in the wrong
// place is a *DamageError: the journal does not open, as it would begin at a wrong offset.
package disk
