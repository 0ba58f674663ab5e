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

// predictor walks over a piece of WAL.
type predictor struct {
	data     []byte
	at       LSN // of data[0]
	pageSize int
	records  []int32 // offsets of the records whose whole header lies on one page
	before   []LSN   // where the record before each begins; 0: not known
}

func pageHeaderLength(page []byte) int {
	if binary.LittleEndian.Uint16(page[2:])&pageLongHeader != 0 {
		return longPageHeader
	}
	return shortPageHeader
}

// walk finds the records. Each page says where the first one on it begins.
func (p *predictor) walk() {
	var last LSN
	for start := 0; start+p.pageSize <= len(p.data); start += p.pageSize {
		page := p.data[start : start+p.pageSize]
		at := pageHeaderLength(page)
		if binary.LittleEndian.Uint16(page[2:])&pageContinues != 0 {
			at += align(int(min(binary.LittleEndian.Uint32(page[pageRemaining:]), uint32(p.pageSize))))
		}
		for at+4 <= p.pageSize {
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

// checksum returns the checksum of the record at offset at, and false if the piece
// does not hold all of it.
func (p *predictor) checksum(table *crc32.Table, at int) (uint32, bool) {
	left := int64(binary.LittleEndian.Uint32(p.data[at:])) - recordHeader
	var sum uint32
	next := at + recordHeader
	for left > 0 {
		page := next - next%p.pageSize
		if next == page { // the record goes on behind the header of the next page
			if page+p.pageSize > len(p.data) {
				return 0, false
			}
			next += pageHeaderLength(p.data[page:])
		}
		n := min(left, int64(page+p.pageSize-next))
		sum = crc32.Update(sum, table, p.data[next:next+int(n)])
		next += int(n)
		left -= n
	}
	return crc32.Update(sum, table, p.data[at:at+recordCRC]), true
}

// pages takes the address out of each page's header, or puts it back.
func (p *predictor) pages(sign LSN) {
	for start := 0; start+p.pageSize <= len(p.data); start += p.pageSize {
		field := p.data[start+pageAddress:]
		address := LSN(binary.LittleEndian.Uint64(field))
		binary.LittleEndian.PutUint64(field, uint64(address-sign*(p.at+LSN(start))))
	}
}

// predict takes out of data, in place, what restore puts back. It reports whether that
// was worth it: whether most of the records were what they should be. The data begins
// at address at; its length is a multiple of pageSize, which is a power of two.
func predict(data []byte, at LSN, pageSize int) bool {
	p := predictor{data: data, at: at, pageSize: pageSize}
	p.walk()
	table := crc32.MakeTable(crc32.Castagnoli)
	right := 0
	for i := len(p.records) - 1; i >= 0; i-- {
		record := data[p.records[i]:]
		if sum, ok := p.checksum(table, int(p.records[i])); ok {
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

// restore undoes predict.
func restore(data []byte, at LSN, pageSize int) {
	p := predictor{data: data, at: at, pageSize: pageSize}
	p.walk()
	p.pages(^LSN(0)) // minus one
	table := crc32.MakeTable(crc32.Castagnoli)
	for i, offset := range p.records {
		record := data[offset:]
		if p.before[i] != 0 {
			field := record[recordPrev:]
			binary.LittleEndian.PutUint64(field, binary.LittleEndian.Uint64(field)+uint64(p.before[i]))
		}
		if sum, ok := p.checksum(table, int(offset)); ok {
			field := record[recordCRC:]
			binary.LittleEndian.PutUint32(field, binary.LittleEndian.Uint32(field)^sum)
		}
	}
}
