/* Readers beside the row of internal/queue, and the registry by which a writer knows of them. README.md says what is in it
   and what is not. The row is in queue.pml; here it is two numbers: the lowest ticket that is there, and the next. */

#ifndef NW
#define NW 2 /* processes that write */
#endif
#ifndef NR
#define NR 1 /* processes that read */
#endif
#ifndef MAXT
#define MAXT 3 /* tickets in all, but for ticket 0 */
#endif
#ifndef MAXE
#define MAXE 2 /* entries in all */
#endif
#define TSIZE (MAXT + 2)
#define ESIZE (MAXE + 1)
/* LATE: an entry may arrive after its reader has given it up */

byte next = 1;     /* the number of the next ticket */
byte low = 0;      /* the baton: the ticket after it is the head */
bool over[TSIZE];  /* k's turn at the head has ended: it stops believing, and others may delete its baton */
byte writer;       /* who believes to hold alone */

byte entries;        /* made so far, or on their way */
byte behind[ESIZE];  /* the ticket that entry e stands behind */
bool there[ESIZE];
bool coming[ESIZE];  /* a create of it is on its way, and arrives when it likes */
bool silent[ESIZE];  /* its lease has ended for those who can time it */
bool leaving[ESIZE]; /* its reader believes no more, and is about to delete it */
bool in[ESIZE];      /* its reader believes */
byte inside;
byte done;

inline leave(n) { if :: in[n] -> in[n] = false; inside-- :: else fi }

/* What happens by itself: leases end, requests arrive, and whoever is in goes, or dies. */
active proctype World() {
	byte i;
	do
	:: atomic { done == NW + NR -> break }
	:: atomic {
		done < NW + NR;
		select(i : 1 .. MAXT);
		if
		:: i < next && low == i - 1 && !over[i] ->
			over[i] = true;
			if :: writer == i -> writer = 0 :: else fi
		:: over[i] && low == i - 1 && i < next -> low++ /* by whoever is behind */
		:: else
		fi;
		i = 0
	}
	:: atomic {
		done < NW + NR;
		select(i : 1 .. MAXE);
		if
		:: there[i] && !silent[i] && low >= behind[i] && next > low + 1 -> /* there is a head that can time it */
			silent[i] = true;
			leave(i)
		:: in[i] -> leave(i); leaving[i] = true
		:: leaving[i] -> there[i] = false; leaving[i] = false
#ifdef LATE
		:: coming[i] -> coming[i] = false; there[i] = true
#endif
		:: else
		fi;
		i = 0
	}
	od
}

/* registry.go */
proctype Writer() {
	byte k, j;
	byte known; /* entries, as read: a bit each */
enter:
	atomic {
		if :: next > MAXT -> goto stop :: else fi;
		k = next;
		next++
	};
#ifndef M_EARLYLOOK
	/* line.await: until ours is the head, or was given up by others */
	if :: low == k - 1 :: atomic { low >= k -> goto enter } fi;
#endif
	/* listEntries: one by one, for pages are of different moments */
	j = 1;
	do
	:: j <= MAXE ->
		if
#ifdef M_SKIP
		:: there[j] && behind[j] + 1 < k -> known = known | (1 << j)
#else
		:: there[j] && behind[j] < k -> known = known | (1 << j)
#endif
		:: else
		fi;
		j++
	:: else -> break
	od;
	j = 0;
#ifdef M_EARLYLOOK
	if :: low == k - 1 :: atomic { low >= k -> known = 0; goto enter } fi;
#endif
room:
	if
	:: over[k] -> goto giveup
	:: !over[k] && known == 0
	:: !over[k] && known != 0 ->
		/* registry.refresh, registry.bury: one that we know of, again */
		atomic {
			select(j : 1 .. MAXE);
			if
			:: (known & (1 << j)) && !there[j] -> known = known & ~(1 << j)
			:: (known & (1 << j)) && there[j] && silent[j] -> there[j] = false; known = known & ~(1 << j)
#ifdef M_REFUSAL
			:: (known & (1 << j)) && there[j] && !silent[j] -> known = known & ~(1 << j)
#endif
			:: else /* nothing has changed */
			fi;
			j = 0
		};
		goto room
	fi;
	atomic {
		if :: over[k] -> goto giveup :: else fi;
		writer = k;
		assert(inside == 0)
	};
	atomic { if :: writer == k -> writer = 0 :: else fi; over[k] = true };
giveup:
	atomic {
		known = 0;
		over[k] = true;
		if :: low == k - 1 -> low++ :: else fi; /* or the delete is lost, and the World does it */
		goto enter
	};
	goto enter;
stop:
	atomic { k = 0; done++ }
}

/* read.go */
proctype Reader() {
	byte e, b;
	bool before;   /* others had found it silent before its lease began: that lease, from then, knows nothing of it */
	bool waits;    /* the one before the tail is there */
	bool nobody;   /* no ticket follows the tail */
	bool stands;   /* the tail is there */
	byte asked;    /* which of the three were read: a bit each */
enter:
	atomic {
		if :: entries == MAXE -> goto stop :: else fi;
		entries++;
		e = entries;
		b = next - 1; /* line.last: the tail, when it was listed */
		behind[e] = b;
		asked = 0; waits = false; before = false
	};
#ifdef M_LOOKFIRST
	goto look;
write:
#endif
	if
	:: there[e] = true
#ifdef LATE
	:: coming[e] = true; goto enter
#endif
	fi;
#ifdef M_LOOKFIRST
	goto inside_;
#endif
look:	/* line.inTime: three reads, in any order */
	do
	:: atomic { !(asked & 1) -> asked = asked | 1; waits = (b > 0 && low <= b - 1); if :: waits -> before = silent[e] :: else fi }
	:: atomic { !(asked & 2) -> asked = asked | 2; nobody = !(low <= b + 1 && b + 1 < next) }
	:: atomic { !(asked & 4) -> asked = asked | 4; stands = (low <= b)
#ifdef M_LEASE
			; before = silent[e]
#endif
		}
	:: asked == 7 -> break
	od;
#ifdef M_NONEXT
	nobody = true;
#endif
#ifdef M_NOTAIL
	stands = true;
#endif
	if
	:: waits
	:: !waits && nobody && stands
	:: !waits && !(nobody && stands) -> goto takeback
	fi;
#ifdef M_LOOKFIRST
	goto write;
inside_:
#endif
	/* line.await */
	do
	:: atomic { b > 0 && low <= b - 1 -> before = silent[e] }
	:: b == 0 || low > b - 1 -> break
	od;
	atomic {
		if
		:: silent[e] && !before -> goto takeback
		:: else ->
			in[e] = true;
			inside++;
			assert(writer == 0)
		fi
	};
	goto enter; /* who reads is another goroutine, which leaves when it likes */
takeback:
	atomic { there[e] = false; goto enter };
stop:
	atomic { e = 0; b = 0; asked = 0; waits = false; nobody = false; stands = false; before = false; done++ }
}

init {
	byte i;
	atomic {
		for (i : 1 .. NW) { run Writer() }
		for (i : 1 .. NR) { run Reader() }
	}
}
