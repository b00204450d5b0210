package gcsync_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// mutant is the code with one thing broken on purpose. It exists only in an overlay of the build that the test makes.
type mutant struct {
	name     string
	file     string
	old, new string
	also     [][2]string // what else is replaced by what
	run      string      // the directed test that must catch it as well, if there is one
	in       string      // the test's package; empty: this one
	seeds    int         // how many schedules it may survive; 0: mutantSeeds
	spared   string      // why the schedules need not catch it, though they may; empty: they must
	by       string      // the schedules; empty: TestSimulation
}

var mutants = []mutant{
	{
		name: "no verification",
		file: "internal/queue/enqueue.go",
		old:  "\t\tcase object.Missing:\n\t\t\treturn l.unbuilt(ctx, t, backoff)\n\t\tcase object.Denied:",
		new:  "\t\tcase object.Missing:\n\t\t\tt.grand, t.head, t.proven = t.baton.prev, t.n-1, true\n\t\t\treturn true, nil\n\t\tcase object.Denied:",
	},
	{
		name: "ghost deleted without a listing",
		file: "internal/queue/enqueue.go",
		old:  "\t\treal := recs[len(recs)-1].n == t.n\n\t\tif !real {",
		new:  "\t\treal := false\n\t\tif real {",
		run:  "TestExpiredBeforeItWasVerified",
	},
	{
		name: "the highest ticket may be a ghost",
		file: "internal/queue/enqueue.go",
		old:  "real := recs[len(recs)-1].n == t.n\n",
		new:  "real := false\n",
		run:  "TestExpiredBeforeItWasVerified",
	},
	{
		name: "head not proven before expiry",
		file: "internal/queue/expire.go",
		old:  "\tif w.t.proven {\n\t\treturn nil\n\t}",
		new:  "\tif w.t.proven = true; w.t.proven {\n\t\treturn nil\n\t}",
	},
	{
		name:   "expiry timed from before the proof",
		file:   "internal/queue/expire.go",
		old:    "\tif w.sure.After(since) {\n\t\tsince = w.sure\n\t}",
		new:    "",
		run:    "TestExpiryIsTimedFromTheProof",
		spared: "a late release, a slow read and a dead successor must meet in one turn",
	},
	{
		name:  "probed tail without the pin",
		file:  "internal/queue/tail.go",
		old:   "\t\tif err != nil || o.Gen != pin.gen {\n\t\t\tbreak\n\t\t}",
		new:   "\t\t_, _ = o, err",
		seeds: 2000, // a ghost must stand where a probe looks while the row runs past it
	},
	{
		name: "bootstrap taken back whenever somebody is there",
		file: "internal/queue/tail.go",
		old:  "\t\tcase real:\n\t\t\treturn nil\n\t\tcase err == nil:\n\t\t\tl.event(BootstrapUndone, none)",
		new:  "\t\tcase real && false:\n\t\t\treturn nil\n\t\tcase err == nil:\n\t\t\tl.event(BootstrapUndone, none)",
		run:  "TestBootstrapRaces",
	},
	{
		name: "bootstrap never taken back",
		file: "internal/queue/tail.go",
		old:  "if len(recs) < 2 || recs[0].id() != (ref{0, zero.Gen}) {",
		new:  "if true || len(recs) < 2 {",
		run:  "TestBootstrapRaces",
	},
	{
		name: "deadline from the answer",
		file: "lease/keeper.go",
		old:  "k.rec.From, k.rec.Length = k.sent[nonce], k.how.TTL",
		new:  "k.rec.From, k.rec.Length = k.how.Store.Clock().Now(), k.how.TTL",
		run:  "TestDeadlineCountsFromTheSend",
	},
	{
		name: "lease from the last attempt to create",
		file: "internal/object/resolve.go",
		old:  "\t\t\to.Sent = first\n\t\t\ts.resolved()\n\t\t\treturn o, nil\n\t\tcase Missing:",
		new:  "\t\t\ts.resolved()\n\t\t\treturn o, nil\n\t\tcase Missing:",
		run:  "TestLeaseCountsFromTheFirstAttempt",
	},
	{
		name: "lease from the grant",
		file: "internal/queue/tenure.go",
		old:  "From:    t.from,",
		new:  "From:    l.now(),",
	},
	{
		name: "own claim instead of the predecessor's",
		file: "internal/queue/tenure.go",
		old:  "Length:  t.baton.claim,",
		new:  "Length:  l.cfg.Claim,",
	},
	{
		name: "renewal shortens the lease",
		file: "internal/queue/possession.go",
		old:  "ttl := max(l.cfg.TTL, rec.Length)",
		new:  "ttl := l.cfg.TTL",
		run:  "TestRenewalNeverShortensTheLease",
	},
	{
		name: "any nonce is ours",
		file: "internal/object/resolve.go",
		old:  "if o.Metadata[KeyNonce] != d.Metadata[KeyNonce] {",
		new:  "if false {",
	},
	{
		name: "a refusal is a loss, whoever's nonce is there",
		file: "lease/keeper.go",
		old:  "\tcase mine:",
		new:  "\tcase mine && false:",
		run:  "TestLostAnswerOfRenewal",
	},
	{
		name:   "precondition on metageneration alone",
		file:   "internal/object/object.go",
		old:    "return storage.Conditions{GenerationMatch: v.Gen, MetagenerationMatch: v.Meta}",
		new:    "if v.Meta != 0 {\n\t\treturn storage.Conditions{MetagenerationMatch: v.Meta}\n\t}\n\treturn storage.Conditions{GenerationMatch: v.Gen}",
		run:    "TestDefect1DoubleHoldByABA",
		in:     "./lease",
		spared: "the queue uses each name once, and what stands on a name a second time is a ghost, whoever changes it",
	},
	{
		name:  "renewed after it was lost",
		file:  "lease/keeper.go",
		old:   "\tk.check() // an answer that comes after the deadline extends nothing\n\tif k.err != nil {\n\t\treturn over\n\t}",
		new:   "\tk.err = nil",
		run:   "TestLateAnswerDoesNotReviveALease",
		seeds: 4000,
	},
	{
		name: "release before belief ends",
		file: "internal/queue/tenure.go",
		old:  "err := tn.keeper.Stop(cause)",
		new:  "err := tn.keeper.Err()\n\ttime.AfterFunc(time.Second, func() { tn.keeper.Stop(cause) })",
		run:  "TestBeliefEndsBeforeTheRelease",
	},
	{
		name: "no limit on local passes",
		file: "internal/queue/tenure.go",
		old:  "return !tn.awaited() || tn.passes <= passLimit && tn.l.now().Since(tn.began) < passTime",
		new:  "return true",
		run:  "TestMutexLocalPassesAreLimited",
	},
	{
		name: "a successor is looked for ever more seldom",
		file: "internal/queue/tenure.go",
		old:  "min(maxWatchGap, max(",
		new:  "min(maxGap, max(",
		run:  "TestMutexLocalPassesAreLimitedLate",
	},
	{
		name: "one token for all local passes",
		file: "internal/queue/tenure.go",
		old:  "tn.keeper.Grant(tn.ticket.token(tn.passes))",
		new:  "tn.keeper.Grant(tn.ticket.token(0))",
	},
	{
		name: "a create in flight is forgotten on cancellation",
		file: "internal/queue/tenure.go",
		old:  "\t\t\t\tl.abandonTried()\n\t\t\t\treturn nil, err\n",
		new:  "\t\t\t\treturn nil, err\n",
		run:  "TestCloseAtEveryStep",
	},
	{
		name:  "abandoned obeyed before the head is proven",
		file:  "internal/queue/expire.go",
		old:   "\tif !s.proven {\n\t\treturn false, nil\n\t}",
		new:   "\tif !s.proven && !rec.abandoned {\n\t\treturn false, nil\n\t}",
		seeds: 4000,
	},
	{
		name: "a ghost is taken for the one ahead",
		file: "internal/queue/await.go",
		old:  "\t\t\t\tif a.o.Gen != t.grand {\n\t\t\t\t\tw.advance(n+1, a.o.Received)\n\t\t\t\t\treturn nil\n\t\t\t\t}",
		new:  "",
	},
	{
		name: "Unlock after a loss releases whoever holds it now",
		file: "internal/queue/possession.go",
		old:  "gone, err := p.l.remove(ctx, p.name, v)",
		new: "gone, err := p.l.remove(ctx, p.name, v)\n" +
			"\tif o, e := p.l.get(ctx, p.n); e == nil && p.keeper.Err() != lease.ErrReleased {\n" +
			"\t\tp.l.removeAll(ctx, o.Name, o.Version)\n\t}",
		run: "TestPausedHolder",
	},
	{
		name: "a reader does not look whether a writer has come",
		file: "internal/queue/read.go",
		old:  "\t\tcase first && (next.err == nil || isNot(stands, tail.Gen)):\n\t\t\treturn errAgain\n",
		new:  "\t\tcase first:\n\t\t\tt.head, t.proven = tail.n, true\n\t\t\treturn nil\n",
		by:   "TestRWMutexSimulation",
	},
	{
		name: "a reader's lease counts from its look",
		file: "internal/queue/read.go",
		old:  "\t\t\tt.head, t.proven = tail.n, true\n",
		new:  "\t\t\tt.head, t.proven, t.from = tail.n, true, l.now()\n",
		by:   "TestRWMutexSimulation",

		spared: "a pause between the entry and the look must meet three writers; the model has it (`lease-from-look`)",
	},
	{
		name: "a writer does not keep the gate",
		file: "internal/queue/registry.go",
		old:  "\terr := l.drain(inside, tn.ticket, wait)\n",
		new:  "\t_ = l.store.Delete(ctx, tn.name, object.Version{Gen: tn.gen})\n\terr := l.drain(inside, tn.ticket, wait)\n",
		by:   "TestRWMutexSimulation",
	},
	{
		name: "a writer does not wait for readers",
		file: "internal/queue/registry.go",
		old:  "for round := 0; len(r) > 0; round++ {",
		new:  "for round := 0; len(r) > 1000; round++ {",
		run:  "TestRWMutexHammer",
		by:   "TestRWMutexSimulation",
	},
	{
		name: "a writer skips the readers before the one before it",
		file: "internal/queue/registry.go",
		old:  "e.base == t.base && e.n >= t.n {",
		new:  "e.base == t.base && e.n >= t.n-1 {",
		by:   "TestRWMutexSimulation",
	},
	{
		name: "an entry is removed before its holder is silent",
		file: "internal/queue/registry.go",
		old:  "if e.Sent.Since(e.since) < e.lease() && !l",
		new:  "if e.Sent.Since(e.since) < e.lease()/2 && !l",
		by:   "TestRWMutexSimulation",
	},
	{
		name: "an entry is timed from its creation",
		file: "internal/queue/registry.go",
		old:  "\tcase e.renewal != \"\":\n\t\treturn t.Created.Sub(e.Updated) >= longSilence*e.ttl\n",
		new:  "\tcase true:\n\t\treturn t.Created.Sub(e.Updated) >= e.ttl/2\n",
		by:   "TestRWMutexSimulation",
	},
	{
		name: "two calls for several slots gather at once",
		file: "internal/queue/slots.go",
		old:  "\t\tif want > 1 {\n\t\t\th, err := s.many",
		new:  "\t\tif want > n {\n\t\t\th, err := s.many",
		by:   "TestSemaphoreSimulation",
	},
	{
		name: "a slot is free because a listing showed it so",
		file: "internal/queue/look.go",
		old:  "\tt.head = chain(v[i].recs, t.base, t.gens)\n",
		new:  "\tchain(v[i].recs, t.base, t.gens)\n\tt.head, t.proven = t.base.n, true\n",
		by:   "TestSemaphoreSimulation",
	},
	{
		name: "no limit on local passes of a slot",
		file: "internal/queue/slots.go",
		old:  "\t\tcase next != nil && t.mayPass():\n",
		new:  "\t\tcase next != nil:\n",
		by:   "TestSemaphoreSimulation",
	},
	{
		name: "a slot serves whoever comes while it is held",
		file: "internal/queue/slots.go",
		old:  "if a == nil || sl.tenure == nil || sl.holder != nil {",
		new:  "if a == nil || sl.tenure == nil {",
		by:   "TestSemaphoreSimulation",
	},
	{
		name: "Reset takes the mark away and stays in the round",
		file: "once.go",
		old:  "next := map[string]string{markRound: strconv.FormatInt(old.n+1, 10)}",
		new:  "next := map[string]string{markDone: \"\"}",
		run:  "TestOnceGhostPayload",
		by:   "TestOnceSimulation",
	},
	{
		name: "marked as done before it is recorded",
		file: "once.go",
		old:  "\twhile := a.c.farewell() + upload(len(made.body))\n",
		new: "\twhile := a.c.farewell() + upload(len(made.body))\n" +
			"\tif o, err := a.c.store.Get(ctx, a.object()); err == nil {\n" +
			"\t\t_, _ = a.c.store.Patch(ctx, a.object(), o.Version, mark(&payload{of: a.at, gen: 1}))\n\t}\n",
		by: "TestOnceSimulation",
	},
	{
		name: "recorded whatever is there",
		file: "once.go",
		old:  "\tif object.OutcomeOf(err) == object.Refused { // by",
		new: "\tif o, e := a.c.get(ctx, name); object.OutcomeOf(err) == object.Refused && e == nil && o.Gen != 0 && o.Metadata[object.KeyNonce] != nonce {\n" +
			"\t\t_ = a.c.store.Delete(ctx, name, object.Version{Gen: o.Gen})\n\t\treturn a.write(ctx, made)\n\t}\n" +
			"\tif object.OutcomeOf(err) == object.Refused { // by",
		run:   "TestOncePausedRunner",
		by:    "TestOnceSimulation",
		seeds: 4000,
	},
	{
		name:  "a record counts whatever the round is by now",
		file:  "once.go",
		old:   "if now, err := r.round(run); err != nil || now != p.of {",
		new:   "if _, err := r.round(run); err != nil {",
		run:   "TestOncePausedRunner",
		by:    "TestOnceSimulation",
		seeds: 4000,
	},
	{
		name: "a mark counts whatever its round",
		file: "once.go",
		old:  "if n != strconv.FormatInt(at.n, 10) {",
		new:  "if n == \"\" {",
		run:  "TestOnceReset",
		by:   "TestOnceSimulation",
	},
	{
		name: "the memory of a once outlives its Reset",
		file: "once.go",
		old:  "\tdefer t.forget()\n",
		new:  "",
		run:  "TestOnceCache",
		by:   "TestOnceSimulation",

		spared: "they look at the bucket each time, since a memory may be out of date",
	},
	{
		name: "a slot is done when nobody has said so",
		file: "every.go",
		old:  "\to, err = leave(map[string]string{markSlot: slot.Format(time.RFC3339Nano)})\n",
		new:  "\to, err = leave(nil)\n\to.Metadata = map[string]string{markSlot: slot.Format(time.RFC3339Nano)}\n",
		run:  "TestEvery",
		by:   "TestElectionSimulation",

		spared: "there are none for Every",
	},
	{
		name: "a register is taken from a holder that is not yet silent",
		file: "lease/sighting.go",
		old:  "func (s *sighting) silent(now clock.Instant) bool { return now.Since(s.since) >= s.ttl }",
		new:  "func (s *sighting) silent(now clock.Instant) bool { return now.Since(s.since) >= s.ttl/2 }",
		by:   "TestElectionSimulation",
	},
	{
		name: "any 404 is the service's",
		file: "internal/object/outcome.go",
		old:  "\tif !ok {\n",
		new:  "\tif !ok && g.Code != http.StatusNotFound {\n",
		also: [][2]string{{"case reason != reasonNotFound && reason != \"\" || !r.names(message):", "case reason != reasonNotFound && reason != \"\":"}},
		run:  "TestForeignAnswerIsNoEvidence",
	},
	{
		name:   "any refusal is the service's",
		file:   "internal/object/outcome.go",
		old:    "\tif !ok {\n",
		new:    "\tif !ok && g.Code != http.StatusPreconditionFailed {\n",
		run:    "TestForeignAnswerToARelease",
		spared: "a release is looked after, and so is a removal of the dead",
	},
	{
		name: "any object is the one that was asked for",
		file: "internal/object/evidence.go",
		old:  "func (r *Request) Mismatch(a *storage.ObjectAttrs) string {\n",
		new:  "func (r *Request) Mismatch(a *storage.ObjectAttrs) string {\n\tif a != nil && r.Op != opPatch {\n\t\treturn \"\"\n\t}\n",
		run:  "TestForeignAnswerIsNoEvidence",
	},
	{
		name:  "any answer confirms a renewal",
		file:  "internal/object/evidence.go",
		old:   "func (r *Request) Mismatch(a *storage.ObjectAttrs) string {\n",
		new:   "func (r *Request) Mismatch(a *storage.ObjectAttrs) string {\n\tif a != nil && r.Op == opPatch {\n\t\treturn \"\"\n\t}\n",
		run:   "TestForeignAnswerToARenewal",
		seeds: 4000,
	},
	{
		name:   "a removal is believed without a look",
		file:   "internal/queue/story.go",
		old:    "gone, err = l.absent(ctx, d.object.Name, d.object.Gen) // others' belief hangs on it",
		new:    "_ = gone",
		run:    "TestForeignAnswerToAnExpiry",
		spared: "a removal must be answered falsely, and a third come meanwhile",
	},
	{
		name: "the answer to a release proves the head",
		file: "internal/queue/possession.go",
		old:  "\tif proven {\n",
		new:  "\tif proven || true {\n",
		run:  "TestForeignSuccessOfAReleaseKeepsTheOrder",
	},
	{
		name: "a call is answered however late",
		file: "internal/queue/roll.go",
		old:  "\t\tlate := !t.present(l.now())\n",
		new:  "\t\tlate := false\n",
	},
	{
		name:   "an answer is believed without a look",
		file:   "internal/queue/roll.go",
		old:    "\t\t\tif late && p.answering {\n",
		new:    "\t\t\tif false {\n",
		run:    "TestAnswerThatArrivesTooLate",
		spared: "an answer must be on its way while its sender sleeps, for just long enough",
	},
	{
		name: "a ticket is struck though it may have been the head's",
		file: "internal/queue/roll.go",
		old:  "head.n < c.n-1 && ",
		new:  "head.n < c.n && ",
	},
	{
		name: "a ticket is struck before its time",
		file: "internal/queue/roll.go",
		old:  "half: claim / 2}",
		new:  "half: claim / 4}",
	},
	{
		name:  "a call goes with the baton",
		file:  "internal/queue/roll.go",
		old:   "AfterFunc(3*c.half, ",
		new:   "AfterFunc(0, ",
		seeds: 4000,
	},
	{
		name: "nobody asks at the head whether it was struck",
		file: "internal/queue/await.go",
		old:  "\treturn p.confirm(ctx)\n",
		new:  "\tt.looked = l.now()\n\treturn nil\n",
	},
	{
		name:   "a long hold is released without a look",
		file:   "internal/queue/possession.go",
		old:    "\t\tgone, err = p.l.absent(ctx, p.name, p.gen)\n",
		new:    "",
		run:    "TestForeignSuccessOfARelease",
		spared: "it costs others a lease, which may have many reasons",
	},
	{
		name:   "what a listing lacks is gone",
		file:   "internal/queue/enqueue.go",
		old:    "\t\t\tgone, err := l.isGone(ctx, t.n, t.Gen)\n",
		new:    "\t\t\tgone, err := true, error(nil)\n",
		run:    "TestForeignListingHidesNoGhost",
		spared: "the ghost is in nobody's way, and is swept after an hour",
	},
	{
		name:   "an empty registry needs no anchor",
		file:   "internal/queue/registry.go",
		old:    "if err != nil || len(objects) > 0 && objects[len(objects)-1].Name == anchor {",
		new:    "if err != nil || len(objects) >= 0 {",
		run:    "TestForeignAnswerIsNoEvidence",
		by:     "TestRWMutexSimulation",
		spared: "listings are seldom what is answered falsely",
	},
	{
		name:  "the date of an answer is the service's time",
		file:  "internal/queue/witness.go",
		old:   "\tnow, err := l.store.Stamp(ctx, string(l.path)+dirWitnesses+object.NewNonce(), l.cfg.Backoff())\n",
		new:   "\tnow, err := refused.Date, error(nil)\n",
		run:   "TestForeignDate",
		seeds: 4000,
	},
	{
		name: "one token for all holders of a register",
		file: "lease/acquire.go",
		old:  "\t\tepoch++\n",
		new:  "\t\tepoch = 1\n",
		run:  "TestElection",
		by:   "TestElectionSimulation",
	},
	{
		name: "resigned before belief ends",
		file: "lease/held.go",
		old:  "was := h.keeper.Stop(cause) // belief",
		new:  "was := h.keeper.Err()\n\tgo func() { object.Sleep(context.Background(), 1e9); h.keeper.Stop(cause) }()\n\t// belief",
		run:  "TestElectionBeliefEndsBeforeTheResignation",
		by:   "TestElectionSimulation",
	},
}

// mutantSeeds is how many schedules a mutant may survive, unless it says otherwise.
const mutantSeeds = 400

// TestMutantsAreCaught breaks the code in every way that the design fears, one at a time, and wants each to be caught: by
// the simulated schedules, and by the test that was written with just this in mind. It compiles the tests once per mutant,
// so it runs only when asked to.
// Every mutant breaks something that is there.
func TestMutantsAreOfThisCode(t *testing.T) {
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) { m.overlay(t) })
	}
}

func TestMutantsAreCaught(t *testing.T) {
	if os.Getenv("GCSYNC_MUTANTS") == "" {
		t.Skip("set GCSYNC_MUTANTS=1 to run it: it takes some minutes")
	}
	var table bytes.Buffer
	defer func() {
		t.Logf("\n| mutant | what the schedules say | seed | directed test |\n|---|---|---|---|\n%s", table.String())
	}()
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			overlay := m.overlay(t)
			binary := build(t, overlay, ".")
			seeds := cmp.Or(m.seeds, mutantSeeds)
			verdict, seed := simulated(binary, cmp.Or(m.by, "TestSimulation"), seeds)
			switch {
			case verdict == "" && m.spared == "":
				t.Errorf("survived %d schedules", seeds)
			case verdict == "":
				verdict, seed = "nothing: "+m.spared, "-"
			}
			directed := "-"
			if m.run != "" {
				if m.in != "" {
					binary = build(t, overlay, m.in)
				}
				if out, err := exec.Command(binary, "-test.timeout", "5m", "-test.run", "^"+m.run+"$").CombinedOutput(); err == nil {
					t.Errorf("%s does not catch it:\n%s", m.run, out)
				}
				directed = "`" + m.run + "`"
			}
			t.Logf("seed %s: %s; %s", seed, verdict, directed)
			fmt.Fprintf(&table, "| %s | %s | %s | %s |\n", m.name, verdict, seed, directed)
		})
	}
}

// simulated runs schedules until one of them convicts the mutant.
func simulated(binary, test string, seeds int) (verdict, seed string) {
	out, err := exec.Command(binary, "-test.timeout", "10m", "-test.run", "^"+test+"$", "-sim.count", fmt.Sprint(seeds)).CombinedOutput()
	if err == nil {
		return "", ""
	}
	if v := violation.FindSubmatch(out); v != nil {
		return generic(string(v[2])), string(v[1])
	}
	return "it hangs, or crashes", "-"
}

var violation = regexp.MustCompile(`seed (\d+): (.*)`)

// generic takes the particulars out of a violation.
func generic(s string) string {
	return regexp.MustCompile(`^name-\d+: `).ReplaceAllString(regexp.MustCompile(`\d{4,}`).ReplaceAllString(s, "N"), "")
}

// overlay breaks the code, for the compiler only, and returns the file that tells it.
func (m mutant) overlay(t *testing.T) string {
	source, err := os.ReadFile(m.file)
	if err != nil {
		t.Fatal(err)
	}
	text := string(source)
	for _, change := range append([][2]string{{m.old, m.new}}, m.also...) {
		if strings.Count(text, change[0]) != 1 {
			t.Fatalf("%s does not have exactly one\n%s", m.file, change[0])
		}
		text = strings.Replace(text, change[0], change[1], 1)
	}
	dir := t.TempDir()
	mutated, overlay := filepath.Join(dir, "mutated.go"), filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(mutated, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {abs(t, m.file): mutated}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(overlay, replace, 0o600); err != nil {
		t.Fatal(err)
	}
	return overlay
}

// build compiles the tests of a package with the overlay in place.
func build(t *testing.T, overlay, pkg string) (binary string) {
	binary = filepath.Join(t.TempDir(), "tests")
	if out, err := exec.Command("go", "test", "-c", "-vet=off", "-overlay", overlay, "-o", binary, pkg).CombinedOutput(); err != nil {
		t.Fatalf("the mutant does not compile: %v\n%s", err, out)
	}
	return binary
}

func abs(t *testing.T, file string) string {
	path, err := filepath.Abs(file)
	if err != nil {
		t.Fatal(err)
	}
	return path
}
