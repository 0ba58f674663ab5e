package wal

import (
	"encoding/binary"
	"hash/crc32"
)

// Much of WAL's compressed size is what nobody needs to store: of a record's 24-byte
// header, eight bytes say where the record before it begins, and four are the checksum
// of the record, which no compressor can shrink; of a page's header, eight bytes are
// its address. All of that follows from the rest. So before a piece is compressed,
// each such field becomes the difference from what it should be, which is zero.
//
// Nothing is assumed of the data. The walk over pages and records looks only at fields
// that are never changed (a page's flags and remaining length, a record's length), so
// both directions take the same way through any bytes whatever. A checksum covers bytes
// after its record's header; in bytes that are no WAL these may hold fields of other
// records. So the checksums are taken from the last record to the first on the way in,
// and from the first to the last on the way out: both times what lies after a record
// is in its changed form, and what lies before is not.
//
// The layout is that of PostgreSQL 9.5 and later (xlogrecord.h, xlog_internal.h).
const (
	recordHeader = 24
	recordPrev   = 8  // offset of xl_prev
	recordCRC    = 20 // of xl_crc

	pageAddress    = 8 // offset of xlp_pageaddr
	pageRemaining  = 16
	pageContinues  = 0x0001
	longPageHeader = 40
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// predictor walks over a piece of WAL. Its memory may be used again for another.
type predictor struct {
	data     []byte
	at       LSN // of data[0]
	pageSize int
	table    *crc32.Table
	records  []int32 // offsets of the records whose whole header lies on one page
	before   []LSN   // where the record before each begins; 0: not known
}

// reset makes it one of the piece data, which begins at address at and consists of pages
// of pageSize bytes, a power of two, and perhaps a part of one.
func (p *predictor) reset(data []byte, at LSN, pageSize int) {
	p.data, p.at, p.pageSize, p.table = data, at, pageSize, castagnoli
	p.records, p.before = p.records[:0], p.before[:0]
}

func pageHeaderLength(page []byte) int {
	if binary.LittleEndian.Uint16(page[2:])&pageLongHeader != 0 {
		return longPageHeader
	}
	return shortPageHeader
}

// firstRecord returns where on the page the first record begins that begins there.
func firstRecord(page []byte) int {
	at := pageHeaderLength(page)
	if binary.LittleEndian.Uint16(page[2:])&pageContinues != 0 {
		at += align(int(min(binary.LittleEndian.Uint32(page[pageRemaining:]), uint32(len(page)))))
	}
	return at
}

// walk finds the records. Each page says where the first one on it begins.
func (p *predictor) walk() {
	var last LSN
	for start := 0; start+p.pageSize <= len(p.data); start += p.pageSize {
		page := p.data[start : start+p.pageSize]
		for at := firstRecord(page); at+4 <= p.pageSize; {
			length := binary.LittleEndian.Uint32(page[at:])
			if length < recordHeader {
				break // there is no more
			}
			if at+recordHeader <= p.pageSize {
				p.records = append(p.records, int32(start+at))
				p.before = append(p.before, last)
			}
			last = p.at + LSN(start+at)
			at += align(int(min(length, uint32(p.pageSize))))
		}
	}
}

func align(n int) int { return (n + 7) &^ 7 }

// checksum returns the checksum of the record at offset at and where in the piece the
// record ends, and false if the piece does not hold all of it.
func (p *predictor) checksum(at int) (sum uint32, end int, ok bool) {
	data := p.data
	left := int64(binary.LittleEndian.Uint32(data[at:])) - recordHeader
	next := at + recordHeader
	for left > 0 {
		page := next &^ (p.pageSize - 1)
		if next == page { // the record goes on behind the header of the next page
			if page+p.pageSize > len(data) {
				return 0, 0, false
			}
			next += pageHeaderLength(data[page:])
		}
		n := min(left, int64(page+p.pageSize-next))
		sum = crc32.Update(sum, p.table, data[next:next+int(n)])
		next += int(n)
		left -= n
	}
	return crc32.Update(sum, p.table, data[at:at+recordCRC]), next, true
}

// pages takes the address out of each page's header, or puts it back.
func (p *predictor) pages(sign LSN) {
	for start := 0; start+p.pageSize <= len(p.data); start += p.pageSize {
		field := p.data[start+pageAddress:]
		address := LSN(binary.LittleEndian.Uint64(field))
		binary.LittleEndian.PutUint64(field, uint64(address-sign*(p.at+LSN(start))))
	}
}

// predict takes out of the piece, in place, what restore puts back. It reports whether
// that was worth it: whether most of the records were what they should be.
func (p *predictor) predict() bool {
	p.walk()
	right := 0
	for i := len(p.records) - 1; i >= 0; i-- {
		record := p.data[p.records[i]:]
		if sum, _, ok := p.checksum(int(p.records[i])); ok {
			field := record[recordCRC:]
			difference := binary.LittleEndian.Uint32(field) ^ sum
			binary.LittleEndian.PutUint32(field, difference)
			if difference == 0 {
				right++
			}
		}
		if p.before[i] != 0 {
			field := record[recordPrev:]
			binary.LittleEndian.PutUint64(field, binary.LittleEndian.Uint64(field)-uint64(p.before[i]))
		}
	}
	p.pages(1)
	return right > len(p.records)/2
}

// predictExact does as predict if all of the piece is as a server writes it: every
// field is what it should be, and no record lies in another. Else it changes nothing
// and reports false.
//
// Here it needs no trying whether restore gives the same bytes again. All that it is
// going to compute from was just computed, from the same bytes, and compared with
// what the server had computed from them: the fields that are cleared lie outside of
// what any other record's checksum covers, and its own is taken when all but itself is
// there again.
func (p *predictor) predictExact() bool {
	var last LSN
	end, whole := 0, 0 // of the last record; of the records, how many lie in the piece
	for start := 0; start+p.pageSize <= len(p.data); start += p.pageSize {
		page := p.data[start : start+p.pageSize]
		if LSN(binary.LittleEndian.Uint64(page[pageAddress:])) != p.at+LSN(start) {
			return false
		}
		for at := firstRecord(page); at+4 <= p.pageSize; {
			length := binary.LittleEndian.Uint32(page[at:])
			if length < recordHeader {
				break
			}
			if start+at < end {
				return false
			}
			if at+recordHeader <= p.pageSize {
				record := page[at : at+recordHeader]
				if last != 0 && LSN(binary.LittleEndian.Uint64(record[recordPrev:])) != last {
					return false
				}
				sum, to, ok := p.checksum(start + at)
				switch {
				case !ok:
					end = len(p.data) + 1 // nothing comes after what the piece does not hold
				case sum != binary.LittleEndian.Uint32(record[recordCRC:]):
					return false
				default:
					end = to
					whole++
				}
				p.records = append(p.records, int32(start+at))
				p.before = append(p.before, last)
			}
			last = p.at + LSN(start+at)
			at += align(int(min(length, uint32(p.pageSize))))
		}
	}
	for i, offset := range p.records {
		record := p.data[offset : offset+recordHeader]
		if p.before[i] != 0 {
			binary.LittleEndian.PutUint64(record[recordPrev:], 0)
		}
		if i < whole {
			binary.LittleEndian.PutUint32(record[recordCRC:], 0)
		}
	}
	for start := 0; start+p.pageSize <= len(p.data); start += p.pageSize {
		binary.LittleEndian.PutUint64(p.data[start+pageAddress:], 0)
	}
	return true
}

// restore undoes predict. What it needs of later records and pages is never changed, so
// it goes over the piece once.
func (p *predictor) restore() {
	var last LSN
	for start := 0; start+p.pageSize <= len(p.data); start += p.pageSize {
		page := p.data[start : start+p.pageSize]
		field := page[pageAddress:]
		binary.LittleEndian.PutUint64(field, binary.LittleEndian.Uint64(field)+uint64(p.at+LSN(start)))
		for at := firstRecord(page); at+4 <= p.pageSize; {
			length := binary.LittleEndian.Uint32(page[at:])
			if length < recordHeader {
				break
			}
			if at+recordHeader <= p.pageSize {
				record := page[at : at+recordHeader]
				if last != 0 {
					field := record[recordPrev:]
					binary.LittleEndian.PutUint64(field, binary.LittleEndian.Uint64(field)+uint64(last))
				}
				if sum, _, ok := p.checksum(start + at); ok {
					field := record[recordCRC:]
					binary.LittleEndian.PutUint32(field, binary.LittleEndian.Uint32(field)^sum)
				}
			}
			last = p.at + LSN(start+at)
			at += align(int(min(length, uint32(p.pageSize))))
		}
	}
}
