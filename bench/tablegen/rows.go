package tablegen

import "strconv"

// The rows. What an update leaves alone comes from the row's own random numbers, what it changes from those of the row
// and the day. Text is written as COPY writes CSV: quotes only where they are needed, NULL as nothing at all.

const (
	epoch   = 1672531200 // 2023-01-01 00:00:00
	daySecs = 86400
)

var (
	statuses  = [...]string{"new", "paid", "packed", "shipped", "delivered", "returned", "cancelled"}
	channels  = [...]string{"web", "store", "phone", "app"}
	firsts    = [...]string{"anna", "ben", "carla", "david", "eva", "felix", "grace", "henry", "ida", "jonas", "karin", "leo", "mia", "noah", "olga", "paul", "rosa", "simon", "tina", "walter"}
	lasts     = [...]string{"adams", "becker", "clark", "dietrich", "evans", "fischer", "garcia", "huber", "ivanov", "jensen", "keller", "lopez", "miller", "novak", "olsen", "petrov", "rossi", "schmidt", "taylor", "weber"}
	hosts     = [...]string{"example.com", "example.org", "example.net", "a.example", "post.example"}
	colours   = [...]string{"red", "green", "blue", "black", "white", "grey", "yellow", "brown", "silver", "orange"}
	materials = [...]string{"oak", "steel", "cotton", "glass", "leather", "plastic", "wool", "paper", "marble", "cork"}
	things    = [...]string{"chair", "table", "lamp", "shelf", "carpet", "mirror", "clock", "bottle", "basket", "blanket", "cushion", "drawer", "kettle", "ladder", "hammer", "bucket"}
	notes     = [...]string{"gift wrap", "leave at the door", "call before delivery", "second attempt", "fragile", "express", "no invoice", "old customer"}
	actions   = [...]string{"view", "click", "search", "login", "logout", "cart", "checkout", "error"}
	agents    = [...]string{"Mozilla/5.0 (X11; Linux x86_64)", "Mozilla/5.0 (Macintosh)", "Mozilla/5.0 (Windows NT 10.0)", "curl/8.5.0", "app/4.2 (Android 14)"}
)

func (t *Table) appendRow(b []byte, s tuple) []byte {
	switch t.kind {
	case AppendOnly:
		return t.appendEvent(b, s)
	case Small:
		return t.appendLookup(b, s)
	}
	return t.appendOrder(b, s)
}

// appendOrder: key, customer, channel, created, e-mail, article, token; then what updates change: status, quantity,
// amount, note, changed.
func (t *Table) appendOrder(b []byte, s tuple) []byte {
	r := random{t.seed ^ mix(uint64(s.key))}
	customer := r.below(400_000)
	person := mix(t.seed + customer) // a customer keeps the address
	created := epoch + int64(s.key)*17 + int64(r.below(17))
	b = strconv.AppendUint(b, uint64(s.key), 10)
	b = append(b, ',')
	b = strconv.AppendUint(b, 100_000+customer, 10)
	b = append(b, ',')
	b = append(b, channels[r.next()%4]...)
	b = append(b, ',')
	b = appendTimestamp(b, created, 0) // timestamp(0)
	b = append(b, ',')
	b = append(b, firsts[person%20]...)
	b = append(b, '.')
	b = append(b, lasts[person>>8%20]...)
	b = strconv.AppendUint(b, person>>16%1000, 10)
	b = append(b, '@')
	b = append(b, hosts[person>>32%5]...)
	b = append(b, ',')
	b = appendArticle(b, r.next())
	b = append(b, ',')
	price := 100 + r.below(30_000)
	b = appendHex(b, r.next(), 16)
	b = appendHex(b, r.next(), 6)
	b = append(b, ',')

	changed := created
	if s.day > 0 {
		r = random{r.next() + uint64(s.day)}
		changed = epoch + 900*daySecs + int64(s.day)*daySecs + int64(r.below(daySecs))
	}
	b = append(b, statuses[r.below(7)]...)
	b = append(b, ',')
	quantity := 1 + r.below(9)
	b = strconv.AppendUint(b, quantity, 10)
	b = append(b, ',')
	b = appendCents(b, quantity*price)
	b = append(b, ',')
	if n := r.below(24); n < 8 {
		b = append(b, notes[n]...)
	}
	b = append(b, ',')
	b = appendTimestamp(b, changed, r.below(1_000_000))
	return append(b, '\n')
}

// appendEvent: key, time, device, action, path, milliseconds, value, address, session, agent.
func (t *Table) appendEvent(b []byte, s tuple) []byte {
	r := random{t.seed ^ mix(uint64(s.key))}
	session := mix(t.seed + uint64(s.key/12) + r.below(3)) // some rows in a row belong together
	b = strconv.AppendUint(b, uint64(s.key), 10)
	b = append(b, ',')
	b = appendTimestamp(b, epoch+int64(s.key)*2+int64(r.below(2)), r.below(1_000_000))
	b = append(b, ',')
	b = strconv.AppendUint(b, 1000+session%50_000, 10)
	b = append(b, ',')
	b = append(b, actions[r.below(8)]...)
	b = append(b, ",/shop/"...)
	b = append(b, materials[r.below(10)]...)
	b = append(b, '/')
	b = append(b, things[r.below(16)]...)
	b = append(b, '/')
	b = strconv.AppendUint(b, r.below(2000), 10)
	b = append(b, ',')
	b = strconv.AppendUint(b, 1+r.below(40)*r.below(40), 10)
	b = append(b, ',')
	b = appendCents(b, r.below(10_000))
	b = append(b, ",10."...)
	b = strconv.AppendUint(b, session>>20&255, 10)
	b = append(b, '.')
	b = strconv.AppendUint(b, session>>28&255, 10)
	b = append(b, '.')
	b = strconv.AppendUint(b, session>>36&255, 10)
	b = append(b, ',')
	b = appendHex(b, session, 16)
	b = append(b, ',')
	b = append(b, agents[session>>44%5]...)
	return append(b, '\n')
}

// appendLookup: key, code, article, price, active, changed.
func (t *Table) appendLookup(b []byte, s tuple) []byte {
	r := random{t.seed ^ mix(uint64(s.key))}
	b = strconv.AppendUint(b, uint64(s.key), 10)
	b = append(b, ',')
	b = appendHex(b, r.next(), 8)
	b = append(b, ',')
	b = appendArticle(b, r.next())
	b = append(b, ',')
	r = random{r.next() + uint64(s.day)}
	b = appendCents(b, r.below(100_000))
	if r.below(5) > 0 {
		b = append(b, ",t,"...)
	} else {
		b = append(b, ",f,"...)
	}
	b = appendDate(b, epoch/daySecs+int64(s.day))
	return append(b, '\n')
}

// appendArticle: three words, some with a comma, and therefore quoted.
func appendArticle(b []byte, x uint64) []byte {
	quoted := x>>40&7 == 0
	if quoted {
		b = append(b, '"')
	}
	b = append(b, colours[x%10]...)
	if quoted {
		b = append(b, ',')
	}
	b = append(b, ' ')
	b = append(b, materials[x>>8%10]...)
	b = append(b, ' ')
	b = append(b, things[x>>16%16]...)
	if quoted {
		b = append(b, '"')
	}
	return b
}
