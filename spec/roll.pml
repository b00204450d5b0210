/* The roll call of internal/queue/roll.go: a waiter, whoever calls it, and the baton before it. README.md says what is in it and
   what is not.

   Time is a bit for each moment that something counts from. It may lapse at any time; where the code relies on a time having
   passed, the model takes the bit away then, from whatever was sent before.                                              */

#ifndef MAXC
#define MAXC 3 /* calls in all, repetitions included */
#endif

byte low;          /* 0: the baton before the waiter is there; 1: the waiter is the head; 2: its own baton is gone */
bool held;         /* the waiter believes to hold */
byte call;         /* the call that is there; 0: none */
byte made;         /* calls made so far */
byte repetition;   /* creates that are still on their way, and that nobody asks after */
byte answer;       /* a delete of the waiter's, of that call, on its way; 0: none */

/* The waiter's moments. */
bool looked = true;    /* the last look that found none was sent less than (nearly) half a claim ago */
byte lookedAt;         /* how many calls had been made when it was sent */
bool sending;          /* the same of the look under way */
byte sendingAt;
bool waited = true;    /* a claim has not passed since it last was not the head: a lease from then would be good */

bool ended;

proctype World() {
	do
	:: atomic { ended -> break }
	:: atomic { low == 0 -> low = 1 }                              /* the head releases, or is expired */
	:: atomic { looked -> looked = false }
	:: atomic { sending -> sending = false }
	:: atomic { waited && !held -> waited = false }
	:: atomic { held -> held = false; waited = false }             /* it is lost, or given back */
	:: atomic { low == 1 && !held && !waited -> low = 2 }          /* and then its baton goes, too */
	:: atomic { repetition > 0 && call == 0 && made < MAXC -> repetition--; made++; call = made }
	:: atomic { answer != 0 -> if :: call == answer -> call = 0 :: else fi; answer = 0 }
	od
}

proctype Waiter() {
	bool answering, late;
	byte found;
loop:
	atomic { found = 0; late = false }
	if
	:: goto look
	:: atomic { low == 0 -> waited = true; goto loop }             /* not yet the head */
	:: low > 0
	fi;
	/* At the head. */
#ifdef M_GRANT
	goto grant;
#else
	if
	:: atomic { looked && !answering -> goto grant }
	:: atomic { !looked || answering -> goto look }
	fi;
#endif
grant:
	atomic {
		if
#ifdef M_GRANT
		:: waited ->
#else
		:: waited && looked ->
#endif
			assert(low == 1);
			held = true;
			goto out
		:: else -> goto out                                    /* too late to believe: queue anew */
		fi
	}
look:
	atomic { sending = true; sendingAt = made }
	found = call;                                                  /* the service answers */
	atomic {
#ifndef M_LATE
		late = !looked;                                        /* and we hear of it */
#endif
		if
		:: found == 0 ->
			if
#ifndef M_NOLOOK
			:: late && answering -> goto out
#endif
			:: else -> looked = sending; lookedAt = sendingAt; sending = false; answering = false
			fi
		:: else ->
			sending = false;
			if
			:: late -> goto out
			:: else -> answering = true; if :: answer == 0 -> answer = found :: else fi
			fi
		fi;
		goto loop
	}
out:
	skip
}

proctype Caller() {
	byte mine;
	/* The call: applied, perhaps with a repetition on its way. */
	atomic {
		if
		:: made < MAXC && call == 0 -> made++; call = made; mine = made; if :: repetition++ :: skip fi
		:: call != 0 -> mine = call
		:: else -> goto out
		fi
	}
	/* Half of the claim has passed since we know of it: no look counts that was sent before it was made. */
	atomic {
#ifndef M_EARLY
		if :: lookedAt < mine -> looked = false :: else fi;
		if :: sendingAt < mine -> sending = false :: else fi;
#endif
		skip
	}
#ifndef M_HEAD
	atomic { if :: low == 0 -> skip :: else -> goto out fi };      /* the head is read: it is there */
#endif
	atomic { if :: call == mine -> skip :: else -> goto out fi };  /* and the call is, too */
	/* Struck: as soon as the waiter is the head. */
	atomic {
		low > 0;
		if
		:: low == 1 -> assert(!held); low = 2
		:: else -> goto out
		fi
	}
#ifndef M_SWEEP
	atomic { if :: !held -> waited = false :: else fi };           /* a claim later */
#endif
	atomic { if :: call == mine -> call = 0 :: else fi };
out:
	skip
}

init {
	atomic { run World(); run Waiter(); run Caller();
#ifdef TWO
		run Caller()
#endif
	};
	(_nr_pr == 2);
	ended = true
}
