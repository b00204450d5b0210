/* The ticket queue of internal/queue, for Spin.  README.md maps every step to the code and lists the flags.

   A ticket is one byte of identity (its generation), so n@g in the comments is "number n, generation g".
   Absent objects have generation 0.  Time is one bit per ticket: over(g) says that whoever owns g may never again
   believe to hold by it, because its lease ended, it released, or it gave up.  The owner's belief ends no later than
   that bit is set; a watcher that has timed the holder correctly can only finish after it.                        */

#ifndef NP
#define NP 2                            /* processes */
#endif
#ifndef MAXN
#define MAXN 4                          /* highest number that is ever created */
#endif
#ifndef MAXG
#define MAXG 7                          /* creates in all, ticket 0 and ghosts included */
#endif

#define none 255

byte gen[MAXN+2], prv[MAXN+2];          /* the bucket: generation of t/n, and the generation that it was built on */
unsigned marks : 8;                     /* bit n: t/n carries `abandoned` */
byte nextg;                             /* last generation that the service gave out */

/* What is true, known to no process: only assertions and the passage of time look at it. */
byte lo, top;                           /* the row is lo..top; whatever is below lo is a ghost */
byte held;                              /* the ticket by which somebody believes to hold; 0: nobody */
byte token;                             /* the last one granted */
unsigned ended : 16;                    /* bit g: over(g) */
byte running = NP;

/* One create without an answer, still on its way. */
byte flightN = none, flightB, flightBy;        /* number, base, sender (NP: a repetition that nobody asks after) */
byte landed;                            /* its generation, once it has arrived */

#define over(g)   ((ended >> (g)) & 1)
#define end(g)    ended = ended | (1 << (g))
#define marked(n) ((marks >> (n)) & 1)

/* The row grows by a ticket on its top; everything else that is created is a ghost. */
inline put(n, b) {
  nextg++; gen[n] = nextg; prv[n] = b;
  if
  :: n >= 1 && n > lo && gen[n-1] == b ->
       assert(n == top + 1);            /* no number is used twice, every base is real */
       top = n
  :: else ->
       assert(n < lo || nextg == 1)     /* ticket 0 is real the first time, and never again */
  fi
}

/* Delete t/n.  By: the ticket of the deleter, if the baton is its own. */
inline del(n, by) {
  if
  :: n >= lo ->
       assert(n == lo);                 /* in order */
       assert(n < top);                 /* never the tail */
       assert(held == 0 || held == by || held != gen[n+1])    /* never under one who believes */
  :: else
  fi;
  gen[n] = 0; prv[n] = 0; marks = marks & (255 - (1 << (n)));
  if :: n == lo -> lo++ :: else fi     /* the last step: n may be lo itself */
}

proctype World() {
  byte n;
  do
  :: atomic { flightN != none ->                               /* the create arrives */
       if
       :: gen[flightN] == 0 && nextg < MAXG -> put(flightN, flightB); landed = nextg
       :: else -> flightBy = NP
       fi;
       flightN = none; flightB = 0 }
#ifndef NOLAPSE
  :: atomic { running > 0 && lo < top && !over(gen[lo+1]) -> /* the lease of the first in line ends */
       end(gen[lo+1]);
       if :: held == gen[lo+1] -> held = 0 :: else fi }
#endif
#ifndef NOCLEAR
  :: atomic { running > 0 && lo < top && over(gen[lo+1]) ->  /* a release that was held up, or a caller of TryLock */
       del(lo, 0) }
#endif
#ifndef NOSWEEP
  :: atomic { running > 0 && lo > 0 ->                       /* housekeeping takes a ghost away */
       n = 0;
       do :: n < lo && gen[n] == 0 -> n++ :: else -> break od;
       do :: n + 1 < lo -> n++ :: break od;
       if :: n < lo && gen[n] != 0 -> del(n, 0) :: else fi;
       n = 0 }
#endif
  :: atomic { running == 0 -> break }
  od
}

proctype P(byte id) {
  byte k, g, bg, pp;                    /* my ticket k@g, its base k-1@bg, the one before that k-2@pp */
  byte h, hg, hp;                       /* the head as I read it, and what it was built on */
  bool hm, early;                       /* it is abandoned; I began to time it before it was the head */
  byte mn, mg;                          /* memory: my last ticket, which I released */
  byte tn, tb;                          /* a create of mine without an answer: number and base */
  byte j, c;
  bool trying;

idle:
  atomic {
    k = 0; g = 0; bg = 0; pp = 0; h = 0; hg = 0; hp = 0; hm = 0; early = 0; j = 0; c = 0; trying = 0;
    if
    :: nextg >= MAXG || top >= MAXN -> goto stop
    :: else
    fi;
    if
    :: goto list
    :: mn != 0 && tn == 0 -> k = mn + 1; bg = mg; goto create       /* remembered */
#ifdef PROBE
    :: mn != 0 && tn == 0 && mn + 2 <= MAXN -> goto probe
#endif
    fi
  }

#ifdef PROBE
probe:                                  /* a candidate somewhere above my last ticket, the pin */
#ifdef M_LINKS
  atomic {                              /* the reads are not one instant: the one below it first */
    j = mn + 1; do :: j + 1 < MAXN -> j++ :: break od;
    pp = gen[j-1]; if :: pp == 0 -> goto list :: else fi }
  atomic { if :: gen[j] != 0 && prv[j] == pp -> bg = gen[j]; k = j + 1; pp = 0; j = 0 :: else -> goto list fi }
#else
  atomic {
    j = mn + 1; do :: j + 1 < MAXN -> j++ :: break od;
    if :: gen[j] != 0 -> bg = gen[j]; k = j + 1; j = 0 :: else -> goto list fi }
  atomic { if :: gen[mn] == mg -> skip :: else -> k = 0; bg = 0; goto list fi }  /* and then the pin */
#endif
  goto create;
#endif

list:
#ifdef PAGED
  atomic { k = 0; bg = 0; pp = 0; mn = 0; mg = 0;
    c = 0; do :: c < MAXN -> c++ :: break od;            /* the first page ends with number c */
    j = c + 1; do :: j > 0 && gen[j-1] == 0 -> j-- :: else -> break od;
    if :: j > 0 -> bg = gen[j-1]; k = j :: else fi }
#endif
  atomic {
#ifdef PAGED
    j = MAXN; do :: j > c && gen[j] == 0 -> j-- :: else -> break od;
    if :: j > c -> bg = gen[j]; k = j + 1 :: else fi;
    j = 0; c = 0;
#else
    k = MAXN + 1; do :: k > 0 && gen[k-1] == 0 -> k-- :: else -> break od;
    if :: k > 0 -> bg = gen[k-1] :: else fi;
    pp = 0; mn = 0; mg = 0;
#endif
    if :: k == 0 -> goto boot :: else fi;
    if
    :: tn != 0 ->                                         /* adopt what an earlier create left, or forget it */
         if
         :: flightBy == id && landed != 0 && gen[tn] == landed ->
              k = tn; bg = tb; g = landed; tn = 0; tb = 0; landed = 0; flightBy = NP; goto verify
         :: else -> tn = 0; tb = 0; if :: flightBy == id -> landed = 0; flightBy = NP :: else fi
         fi
    :: else
    fi;
    if
    :: k > MAXN -> goto stop
    :: else
    fi;
#if !defined(NOTRY) && !defined(PAGED)
    if
    :: skip
    :: k >= 2 && prv[k-1] != 0 && gen[k-2] == prv[k-1] -> /* TryLock: somebody is there; is it dead? */
         h = k - 2; do :: h > 0 && prv[h] != 0 && gen[h-1] == prv[h] -> h-- :: else -> break od;
         hg = gen[h]; hp = prv[h]; hm = marked(h); trying = 1;
         k = 0; bg = 0; goto prove
    fi
#endif
  }

  goto create;

boot:                                   /* the listing was empty */
  if
  :: atomic { gen[0] == 0 && nextg < MAXG -> put(0, 0); g = nextg }
  :: atomic { gen[0] == 0 && nextg < MAXG && flightN == none ->
       put(0, 0); g = nextg; flightN = 0; flightB = 0; flightBy = NP; landed = 0 }
  :: atomic { gen[0] != 0 -> goto resolve }
  :: atomic { flightN == none -> flightN = 0; flightB = 0; flightBy = id; landed = 0; goto resolve }
  :: atomic { gen[0] == 0 && nextg >= MAXG -> goto stop }
  fi;
  goto undo;
resolve:
  if
  :: atomic { gen[0] != 0 && flightBy == id && landed == gen[0] -> g = landed; landed = 0; flightBy = NP }
  :: atomic { gen[0] != 0 && !(flightBy == id && landed == gen[0]) -> goto idle }  /* somebody else did it */
  :: atomic { gen[0] == 0 -> goto boot }                     /* once more, by the same nonce */
  :: goto idle                                               /* the policy gave up */
  fi;
undo:                                   /* list again: is the ticket 0 that I made an intruder? */
  atomic {
    if :: gen[0] != g -> goto idle :: else fi
#ifdef M_ONELIST
    ; if :: gen[1] != 0 && prv[1] == g -> goto idle :: else fi;
    if :: gen[1] != 0 -> goto ghost :: else fi }             /* the first page ends after 1, which was absent */
  atomic {
    j = MAXN; do :: j > 1 && gen[j] == 0 -> j-- :: else -> break od;
    if :: j <= 1 -> j = 0; goto idle :: else -> j = 0 fi }
#else
#ifdef PAGED
  }
  atomic {
#else
    ;
#endif
    j = MAXN; do :: j > 0 && gen[j] == 0 -> j-- :: else -> break od;
    if :: j == 0 -> goto idle :: else -> j = 0 fi }
#ifndef M_NAIVEBOOT
  atomic { if :: prv[1] == g -> goto idle :: else fi };
#endif
#endif
  goto ghost;

create:
  if
  :: atomic { gen[k] == 0 && nextg < MAXG -> put(k, bg); g = nextg; tn = 0; tb = 0 }
  :: atomic { gen[k] == 0 && nextg < MAXG && flightN == none -> /* applied, and a repetition is still on its way */
       put(k, bg); g = nextg; flightN = k; flightB = bg; flightBy = NP; landed = 0 }
  :: atomic { gen[k] != 0 -> tn = k; tb = bg; goto idle }    /* refused: perhaps by an attempt of mine */
  :: atomic { flightN == none ->                                /* no answer */
       flightN = k; flightB = bg; flightBy = id; landed = 0; tn = k; tb = bg; goto idle }
  :: atomic { gen[k] == 0 && nextg >= MAXG -> goto stop }
  fi;

verify:
#ifdef M_NOVERIFY
  atomic { if :: gen[k-1] != 0 -> pp = prv[k-1] :: else -> pp = 0 fi; goto wait }
#else
  atomic { if :: gen[k-1] == bg -> pp = prv[k-1]; goto wait :: else fi }
#endif

  /* unbuilt: the base is gone.  Real and expired already, or a ghost? */
#ifdef M_NOLIST
  goto ghost;
#endif
  atomic {
    if :: gen[k] != g -> goto idle :: else fi                /* not there any more */
#ifdef M_ONELIST
    ; if :: gen[k+1] != 0 && prv[k+1] == g -> goto idle :: else fi;
    if :: gen[k+1] != 0 -> goto ghost :: else fi }           /* the first page ends after k+1, which was absent */
  atomic {
    j = MAXN; do :: j > k + 1 && gen[j] == 0 -> j-- :: else -> break od;
    if :: j <= k + 1 -> j = 0; goto idle :: else -> j = 0 fi }
  goto ghost;
#else
#ifdef PAGED
  }
  atomic {
#else
    ;
#endif
#ifndef M_NOTLAST
    j = MAXN; do :: j > k && gen[j] == 0 -> j-- :: else -> break od;
    if :: j == k -> j = 0; goto idle :: else -> j = 0 fi;    /* it is the highest: real */
#endif
    skip }
  atomic { if :: prv[k+1] == g -> goto idle :: else fi };    /* the next, read by itself, was built on it: real */
#endif

ghost:
  atomic {
    if
    :: gen[k] == g ->
#ifndef DOWNSTREAM
         assert(k < lo);                                     /* what is removed as a ghost is one */
#endif
         del(k, 0)
    :: else
    fi;
    goto idle }

wait:
  if
#ifdef M_ANSWER
  :: atomic { k == mn + 1 && bg == mg -> goto grant }          /* my release was answered, so that baton is gone */
#endif
  :: atomic { k == 1 || gen[k-2] != pp ->
#ifdef M_GHOSTREAD
       if
       :: k >= 2 && gen[k-2] != 0 -> ended = ended & (65535 - (1 << g)); goto wait  /* "not yet": my lease counts anew */
       :: else -> goto grant
       fi
#else
       goto grant
#endif
     }
  :: atomic { k >= 2 && gen[k-2] == pp ->                    /* read a baton ahead of mine */
       h = k - 2; do :: h > 0 -> h-- :: break od;
       if :: gen[h] == 0 -> h = 0; goto wait :: else fi;
       hg = gen[h]; hp = prv[h]; hm = marked(h);
#if defined(M_NOHEADPROOF) || defined(M_EARLYTIMER)
       early = (h > 0 && gen[h-1] == hp);
#endif
#ifdef M_EARLYMARK
       if :: hm -> goto remove :: else fi;
#endif
     }
#ifndef NOABANDON
  :: atomic { k >= 1 && !over(g) ->                          /* give up for good */
       end(g);
       if :: gen[k-1] == bg -> marks = marks | (1 << (k-1)) :: else fi;
       mn = 0; mg = 0; goto idle }
#endif
  fi;
prove:
#ifndef M_NOHEADPROOF
  atomic { if
           :: h > 0 && gen[h-1] == hp -> goto again          /* somebody is before it */
           :: else
           fi }
#endif
#if defined(M_EARLYTIMER)
remove:
#else
  atomic { if :: gen[h] == hg -> hm = marked(h) :: else -> goto again fi };   /* the time counts from here */
remove:
#endif
  if
  :: atomic { gen[h] != hg || marked(h) != hm -> skip }      /* the condition is refused, or it is gone */
  :: atomic { gen[h] == hg && marked(h) == hm &&
              (hm || early || h < lo || gen[h+1] == 0 || over(gen[h+1])) -> del(h, 0) }
  :: skip                                                    /* it renewed, or we look again */
  fi;
again:
  atomic { h = 0; hg = 0; hp = 0; hm = 0; early = 0;
           if :: trying -> goto idle :: else -> goto wait fi }

grant:
  atomic {
    if
    :: over(g) -> goto release                               /* head for too long without knowing */
    :: else
    fi;
    assert(held == 0);                                       /* one believer */
    assert(k > token);                                       /* tokens grow */
#ifndef DOWNSTREAM
    assert(gen[k-1] == bg && lo == k - 1);                   /* by a baton that is there, and the first */
#endif
    token = k; held = g }
hold:
  if
  :: atomic { held == g ->                                   /* Unlock: belief ends first */
       held = 0; end(g); mn = k; mg = g;
       if
       :: goto release
       :: goto idle                                          /* the delete is on its way, or was answered by another: World */
       fi }
  :: atomic { held != g -> mn = 0; mg = 0 }                  /* lost; release all the same */
  fi;
release:
  atomic { if :: gen[k-1] == bg -> del(k-1, g) :: else fi; goto idle }
stop:
  atomic { k = 0; bg = 0; g = 0; mn = 0; mg = 0; tn = 0; tb = 0; j = 0; c = 0; running-- }
}

init {
  byte i;
  atomic {
    flightBy = NP;
#ifndef BOOT
    put(0, 0);
#endif
    i = 0; do :: i < NP -> run P(i); i++ :: else -> break od;
    i = 0;
    run World()
  }
}
