package main

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// postgresDays has a PostgreSQL make the table, and backs up the whole cluster twice
// at the end.
func (w *world) postgresDays(s settings) (text string, err error) {
	server, err := newCluster(w.dir)
	if err != nil {
		return "", err
	}
	defer func() {
		if e := server.stop(); err == nil {
			err = e
		}
	}()
	t := &orders{cluster: server, day: 1}
	if err := t.create(s.rows); err != nil {
		return "", err
	}
	contenders, err := w.contenders()
	if err != nil {
		return "", err
	}
	if err := w.simulate(t, contenders, s.days); err != nil {
		return "", err
	}
	plain, err := w.plugin("base")
	if err != nil {
		return "", err
	}
	peers, err := w.peers("cluster")
	if err != nil {
		return "", err
	}
	bases := append([]*contender{plain}, peers...)
	if err := w.simulate(baseBackups{t}, bases, 2); err != nil {
		return "", fmt.Errorf("base backup: %w", err)
	}
	return report(contenders, s.days) + reportBases(bases), nil
}

// orders is a table of orders in a PostgreSQL. The numbers that its changes are drawn
// from follow from the day, so that they are the same in every run.
type orders struct {
	cluster *cluster
	day     int
}

// Rows are of about the length that bench/tablegen's have, in what COPY prints. Most of
// a row cannot be guessed from the others: names, amounts, a token of 32 digits.
const newRows = `
	INSERT INTO orders
	SELECT nextval('orders_id'), 1 + (random() * 200000)::int,
	       (ARRAY['anna','ben','chris','dora','emil','frieda','georg','hanna'])[1 + (random() * 7)::int] || (random() * 99999)::int || '@example.com',
	       'A-' || lpad((random() * 5000)::int::text, 6, '0'), 1 + (random() * 20)::int, (random() * 1000)::numeric(10,2),
	       (ARRAY['new','paid','packed','shipped'])[1 + (random() * 3)::int],
	       (ARRAY['deliver to the neighbour','leave at the door','call before delivery','no note','gift wrapping'])[1 + (random() * 4)::int],
	       md5(random()::text), timestamp '2026-01-01' + n * interval '7 seconds', timestamp '2026-01-01' + n * interval '7 seconds'
	FROM generate_series(1, %d) n`

// create makes the table, aged by one day: so many slots are free, all over it, as a
// day's changes leave free when vacuum has run. Without them every updated row of the
// second day, and of no other, would go to the table's end.
func (t *orders) create(rows int) error {
	return t.cluster.do(
		`CREATE SEQUENCE orders_id`,
		`CREATE TABLE orders (id bigint, customer int, email text, article text, quantity int, amount numeric(10,2),
			status text, note text, token text, created timestamp, changed timestamp)`,
		seed(0), fmt.Sprintf(newRows, rows+rows/75),
		`ALTER TABLE orders ADD PRIMARY KEY (id)`,
		seed(-1), fmt.Sprintf(`DELETE FROM orders WHERE random() < %g`, 1.0/76),
		`VACUUM ANALYZE orders`, `CREATE TABLE victims (id bigint, batch int)`,
	)
}

// seed has the session draw the same numbers each time.
func seed(day int) string { return fmt.Sprintf("SELECT setseed(%g)", float64(day)/1000) }

// update changes a share of the rows, all over the table and in random order, in a
// hundred transactions, as the users of a shop would.
func (t *orders) update(share float64) error {
	return t.cluster.do(
		`TRUNCATE victims`, seed(t.day), fmt.Sprintf(`INSERT INTO victims SELECT id, (random() * 99)::int FROM orders WHERE random() < %g`, share),
		`SET enable_hashjoin = off`, `SET enable_mergejoin = off`,
		fmt.Sprintf(`DO $$ BEGIN
			FOR b IN 0..99 LOOP
				UPDATE orders o SET status = 'returned', quantity = 1 + (random() * 20)::int, amount = (random() * 1000)::numeric(10,2),
					note = 'note of day %d: ' || (random() * 1000)::int, changed = timestamp '2026-11-01' + %d * interval '1 day' + random() * interval '1 day'
				FROM victims v WHERE v.batch = b AND o.id = v.id;
				COMMIT;
			END LOOP;
		END $$`, t.day, t.day),
	)
}

// nextDay updates 1.3 % of the rows, adds 0.3 %, deletes 0.1 %, and vacuums.
func (t *orders) nextDay() error {
	t.day++
	if err := t.update(0.013); err != nil {
		return err
	}
	var rows strings.Builder
	if err := t.cluster.print(&rows, "psql", "-X", "-A", "-t", "-c", "SELECT count(*) FROM orders"); err != nil {
		return err
	}
	var n int
	if _, err := fmt.Sscan(rows.String(), &n); err != nil {
		return err
	}
	return t.cluster.do(
		seed(t.day), fmt.Sprintf(newRows, n*3/1000),
		seed(-t.day), `DELETE FROM orders WHERE random() < 0.001`,
		`VACUUM orders`,
	)
}

func (t *orders) write(to io.Writer) error {
	return t.cluster.print(to, "psql", "-X", "-c", "COPY orders TO STDOUT")
}

// baseBackups is the whole cluster: one tar, without WAL, from pg_basebackup.
type baseBackups struct{ *orders }

func (b baseBackups) write(to io.Writer) error {
	return b.cluster.print(to, "pg_basebackup", "-D", "-", "-F", "tar", "-X", "none", "--checkpoint", "fast", "--no-manifest")
}

// nextDay updates 1 % of the rows.
func (b baseBackups) nextDay() error {
	b.day++
	fmt.Fprintln(os.Stderr, "update 1 % before the second base backup")
	return b.update(0.01)
}
