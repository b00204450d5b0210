/* The registry of internal/queue, by which several hold at once: semaphores, and with -DRW locks of readers and writers.
   README.md says what is in it and what is not. The queue before it is in queue.pml; here it is one number, the head. */

#ifndef NP
#define NP 2 /* processes */
#endif
#ifndef MAXT
#define MAXT 4 /* tickets in all */
#endif
#define CAP 2 /* slots */
#define SIZE (MAXT + 2)
/* LATE: requests may arrive after their sender has given them up */

byte next = 1;      /* the number of the next ticket */
byte head = 1;      /* the ticket whose baton is the first that is there */
byte weight[SIZE];  /* what ticket k asks for; 0: to hold alone */
bool over[SIZE];    /* k's turn at the head has ended: it stops believing, and others may delete its baton */

bool there[SIZE];   /* h/k is there */
bool coming[SIZE];  /* a create of it is on its way, and arrives when it likes */
bool sent[SIZE];    /* k has asked to delete its own baton */
bool going[SIZE];   /* such a delete is on its way */
bool silent[SIZE];  /* k's lease as an entry has ended */
bool leaving[SIZE]; /* k believes no more, and is about to delete its entry */

byte in[SIZE];      /* what k believes to hold, by its entry */
byte inside;        /* the sum */
byte writer;        /* who believes to hold alone, by its baton */
byte done;

inline leave(n) { inside = inside - in[n]; in[n] = 0 }

/* Nothing of n matters any more: all such tickets are alike. */
inline forget(n) { over[n] = true; silent[n] = true; sent[n] = true; leaving[n] = false }

/* What happens by itself: leases end, messages arrive, and whoever is in goes, or dies. */
active proctype World() {
	byte i;
	do
	:: atomic { done == NP -> break }
	:: atomic {
		done < NP;
		select(i : 1 .. MAXT);
		if
		:: !over[i] && i < next && (head == i || sent[i]) ->
			over[i] = true;
			if :: writer == i -> writer = 0 :: else fi
		:: over[i] && head == i && i < next -> head++ /* by whoever is behind, or tries elsewhere */
		:: !silent[i] && (sent[i] || head > i) && i < next ->
			silent[i] = true;
			leave(i)
#ifdef LATE
		:: coming[i] -> coming[i] = false; there[i] = true /* refused if it is there */
		:: going[i] ->
			going[i] = false;
			if :: head == i -> head++ :: else fi
#endif
		:: in[i] > 0 -> leave(i); leaving[i] = true
		:: leaving[i] -> there[i] = false; forget(i)
		:: else
		fi;
		i = 0
	}
	od
}

/* registry.settle: the entries below k that this process has not read yet, one by one. */
inline settle() {
	j = below;
	do
	:: j < k ->
		if :: there[j] -> known = known | (1 << j) :: else fi;
		j++
	:: else -> break
	od;
	j = 0;
#ifdef M_BELOW
	below = k + 1
#else
	below = k
#endif
}

/* line.register: h/k is made, or the answer is lost and it is made again, or nobody knows. */
inline register() {
	if
	:: atomic { there[k] = true; mine = true }
#ifdef LATE
	:: atomic { there[k] = true; coming[k] = true; mine = true }
	:: coming[k] = true; goto giveup
#endif
	fi
}

proctype Process() {
	byte k, j, sum, below = 1;
	byte known;      /* entries, as read: a bit each */
	bool mine;       /* the entry is known to be there */
	bool unanswered; /* a delete of the baton */
	bool before;     /* others had found k silent before it asked: its own lease, from then, knows nothing of that */
enter:
	atomic {
		mine = false;
		unanswered = false;
		before = false;
		if :: next > MAXT -> goto stop :: else fi;
		k = next;
		next++;
#ifdef RW
		if :: weight[k] = 0 :: weight[k] = 1 fi
#else
		if :: weight[k] = 1 :: weight[k] = CAP fi
#endif
	};
#ifdef M_EARLYLOOK
	settle();
#endif
	/* line.take: until ours is the head, or was given up by others */
	if :: head == k :: atomic { head > k -> forget(k); goto enter } fi;

	/* tenure.admit, tenure.drain */
#ifndef M_LATEENTRY
	if
	:: weight[k] > 0 -> register()
	:: true /* not yet: while we look, or after */
	fi;
#endif
#ifndef M_EARLYLOOK
	settle();
#endif
room:
	skip;
	d_step {
		sum = weight[k];
		j = 1;
		do
		:: j < k ->
			if :: known & (1 << j) -> sum = sum + weight[j] :: else fi;
			j++
		:: else -> break
		od;
		j = 0
	};
	if
	:: over[k] -> goto giveup
#ifdef RW
	:: !over[k] && (weight[k] > 0 || known == 0) /* readers need no room */
	:: !over[k] && weight[k] == 0 && known != 0 ->
#else
	:: !over[k] && sum <= CAP
	:: !over[k] && sum > CAP ->
#endif
		/* registry.refresh, registry.bury: one that we know of, again */
		atomic {
			select(j : 1 .. k - 1);
			if
			:: (known & (1 << j)) && !there[j] -> known = known & ~(1 << j)
			:: (known & (1 << j)) && there[j] && silent[j] -> there[j] = false; known = known & ~(1 << j)
#ifdef M_REFUSAL
			:: (known & (1 << j)) && there[j] && !silent[j] -> known = known & ~(1 << j)
#endif
			:: else /* nothing has changed */
			fi;
			j = 0; sum = 0
		};
		goto room
	fi;
	sum = 0;

	if
	:: weight[k] == 0 ->
		atomic {
			if :: over[k] -> goto giveup :: else fi;
			writer = k;
			assert(inside == 0)
		};
#ifdef M_GATE
		atomic { if :: head == k -> head++ :: else fi };
#endif
		atomic { if :: writer == k -> writer = 0 :: else fi };
		goto giveup
	:: weight[k] > 0
	fi;
#ifndef M_LATEENTRY
	if :: mine :: !mine -> register() fi;
#endif

certify:
	if :: over[k] -> goto giveup :: else fi;
	atomic {
		if :: !sent[k] -> before = silent[k]; sent[k] = true :: else fi
	};
	if
	:: atomic { head == k -> head++ }
	:: atomic { head == k -> head++; unanswered = true }; goto certify
#ifdef LATE
	:: atomic { going[k] = true; unanswered = true }; goto certify
#endif
	:: head > k ->
#ifndef M_NOCERTIFICATE
		if
		:: unanswered && !over[k]
		:: !unanswered || over[k] -> goto giveup
		fi
#else
		skip
#endif
	fi;
#ifdef M_LATEENTRY
	register();
#endif
	atomic { /* line.permit */
		if
		:: silent[k] && !before -> goto giveup
		:: else ->
			in[k] = weight[k];
			inside = inside + weight[k];
#ifdef RW
			assert(writer == 0)
#else
			assert(inside <= CAP)
#endif
		fi
	};
	goto enter; /* who holds it is another goroutine, which leaves when it likes */

giveup: /* tenure.giveUp: the entry before the baton */
	if :: mine -> there[k] = false :: else fi;
	atomic {
		if :: head == k -> head++ :: else fi;
		forget(k);
		goto enter
	};
stop:
	atomic { k = 0; known = 0; below = 0; done++ }
}

init {
	byte i;
	atomic {
		for (i : 1 .. NP) { run Process() }
	}
}
