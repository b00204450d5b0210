/* Gathering several slots of a semaphore, as internal/queue/slots.go does it: that no two processes wait for each other for ever.
   README.md says what is in it. Each slot is a row of queue.pml; here it is who has it. That a run ends anywhere but at the
   end of all processes is an error to Spin. */

#ifndef NP
#define NP 3 /* processes */
#endif
#ifndef NS
#define NS 3 /* slots */
#endif
#ifndef TURNS
#define TURNS 2 /* of each process */
#endif
#define nobody 255

byte slot[NS] = nobody;   /* who has it */
byte busy;                /* how many somebody has */
byte right = nobody;      /* whose turn it is to gather */
bool lost[NP];            /* the right was, while its owner does not know yet */

proctype P(byte me) {
	byte turns, want, got, i;
again:
	atomic {
		got = 0; want = 0;
		if :: turns == TURNS -> goto out :: else turns++ fi;
		select(want : 1 .. NS)
	}
begin:
#ifndef M_NORIGHT
	if
	:: want > 1 -> atomic { right == nobody -> right = me; lost[me] = false }
	:: else
	fi;
#endif
gather:
	do
	:: atomic { got < want ->                              /* any slot that is free, in any order */
		i = 0;
		do :: i < NS && slot[i] != nobody -> i++ :: else -> break od;
		if
		:: i < NS -> slot[i] = me; busy++; got++
		:: else ->                                     /* none is: wait for one, or for the loss of the right */
			(busy < NS || lost[me])
		fi;
		i = 0 }
	:: atomic { got == want -> break }
	:: atomic { lost[me] && got < want ->                  /* the lease of the right has ended, and we learn of it */
		lost[me] = false;
#ifdef M_KEEP
		skip                                           /* and go on */
#else
		i = 0;
		do :: i < NS -> if :: slot[i] == me -> slot[i] = nobody; busy-- :: else fi; i++ :: else -> break od;
		got = 0; i = 0;
		goto begin
#endif
		}
	od;
	atomic {                                               /* the call has what it wants, and gives the right on */
		if :: right == me -> right = nobody :: else fi;
		lost[me] = false
	}
	atomic {                                               /* the hold ends, or its leases do */
		i = 0;
		do :: i < NS -> if :: slot[i] == me -> slot[i] = nobody; busy-- :: else fi; i++ :: else -> break od;
		i = 0;
		goto again
	}
out:
	skip
}

/* The lease of the right may end while its owner gathers: then others have it, before the owner knows. */
proctype World() {
	byte losses;
end:
	do
	:: atomic { losses < 2 && right != nobody -> losses++; lost[right] = true; right = nobody }
	od
}

init {
	byte i;
	atomic {
		run World();
		i = 0;
		do :: i < NP -> run P(i); i++ :: else -> break od
	}
}
