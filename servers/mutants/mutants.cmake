# Faulty variants of the servers: each has one fault, compiled in by a define, that scenarios and checks must notice.
#
# mutant(PROGRAM FAULT) builds PROGRAM with -DMUTANT_FAULT as build/PRESET/mutants/FAULT/PROGRAM. The code of a fault
# stands in the program beside what is right: `#ifdef MUTANT_FAULT`. Only a program's own sources can have faults, and
# of those only NAME.cc and the ones that mention the fault are compiled again.
function(mutant program fault)
    if(NOT MUTANTS)
        return()
    endif()
    set(sources ${program}.cc)
    if(TARGET ${program}.parts)
        get_target_property(parts ${program}.parts SOURCES)
        foreach(part ${parts})
            set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${part})
            file(STRINGS ${part} mentions REGEX "MUTANT_${fault}( |$)")
            if(mentions)
                list(APPEND sources ${part})
            endif()
        endforeach()
    endif()
    get_target_property(libraries ${program} LINK_LIBRARIES)
    set(name ${program}.${fault})
    add_executable(${name} ${sources})
    target_link_libraries(${name} PRIVATE ${libraries})
    target_compile_definitions(${name} PRIVATE MUTANT_${fault})
    set_target_properties(${name} PROPERTIES
        OUTPUT_NAME ${program}
        RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/mutants/${fault})
endfunction()

# One line per fault: program, fault, what it does wrong.
mutant(backlog FIXED_BACKLOG) # listens with a backlog of its own
mutant(accept_late ONE_PER_SIGNAL) # accepts one for a signal, though signals may be joined
mutant(oob_recv OOB_LOST) # reads ordinary data only
mutant(reuse_address NO_REUSE) # never sets SO_REUSEADDR
mutant(buffer_server WRONG_BUFFER) # sets the size of the send buffer
mutant(buffer_client WRONG_BUFFER) # sets the size of the receive buffer
mutant(daytime_server ONE_TIME) # reads the clock once
mutant(daytime_client FIRST_ADDRESS) # tries the first address only
mutant(cgi_stub NO_FLUSH) # leaves its answer in stdio's buffer
mutant(file_writev PARTIAL_WRITEV) # takes what writev(2) took for all that there was
mutant(file_writev MISSING_RETURN) # goes on after a file could not be opened
mutant(file_writev EMPTY_FILE) # answers nothing when the file is empty
mutant(file_writev SIGPIPE) # does not ignore SIGPIPE
mutant(file_writev TWO_WRITES) # sends the header, and then the file
mutant(file_sendfile COPIES) # reads and writes instead
mutant(file_sendfile LINGER_ZERO) # closes with SO_LINGER of 0 s, which throws away what is on its way
mutant(file_sendfile BLOCKS) # waits for one client while others wait
mutant(echo_splice COPIES) # reads and writes instead
mutant(echo_splice SHORT_SPLICE) # takes what splice(2) took for all that there was
mutant(echo_splice LEAKS_PIPE) # forgets to close one end
mutant(echo_splice IDLE_NEVER) # has no idle timeout
mutant(echo_splice DIES_WHEN_FULL) # takes the limit of descriptors for an error
mutant(tee_file SHORT_SPLICE) # takes what splice(2) took for all that there was
mutant(tee_file NOT_TRUNCATED) # leaves the end of a longer file that was there
mutant(daemon LOG_NOT_REOPENED) # writes into the old log after SIGHUP
mutant(daemon KEEPS_GROUPS) # drops the user and keeps its groups
mutant(daemon LEAVES_UNREAD) # closes while something is unread, which resets the connection
mutant(daemon NO_LOCK) # does not lock its pid file
mutant(daemon ONE_PRIORITY) # tells syslog that all lines matter alike
mutant(daemon WAITS_FOR_SYSLOG) # waits until there is room in a log that nobody reads
mutant(daemon NO_SETSID) # stays in the caller's session
mutant(select_oob OVERFLOW) # takes descriptors that an fd_set has no room for
mutant(select_oob OOB_LOST) # reads urgent data as if it were normal
mutant(http_parser ONE_READ) # takes what one read brings for the whole request
mutant(echo_poll SHORT_WRITE) # takes what write(2) took for all that there was
mutant(echo_poll BLOCKING) # waits for one slow reader, and everybody waits with it
mutant(echo_poll RDHUP_BEFORE_IN) # closes when the peer has ended its side, before reading what it said
mutant(echo_poll SIGPIPE) # does not ignore the signal
mutant(echo_poll EMFILE_SPINS) # watches the listener although there is no descriptor left
mutant(echo_poll NO_DRAIN) # ends at once, whatever has arrived
mutant(echo_poll DRAINS_FOR_EVER) # waits for its slowest reader when it is told to end
mutant(echo_poll WAITS_FOR_MORE) # wakes for two bytes and sleeps at one
mutant(echo_poll NO_REUSE) # listens without SO_REUSEADDR
mutant(echo_epoll SINGLE_ACCEPT) # accepts one connection per event
mutant(echo_epoll LOST_TAIL) # edge-triggered, reads once per event
mutant(echo_oneshot NO_ONESHOT) # several threads serve a connection at the same time
mutant(echo_oneshot NO_REARM) # a connection has one event in its life
mutant(connect_nonblocking NO_PATIENCE) # gives up at once
mutant(connect_nonblocking NO_SO_ERROR) # takes the end of the handshake for its success
mutant(chat_client NO_FAREWELL) # does not tell the server that its input has ended
mutant(chat_server TO_SENDER) # tells everyone what he has said himself
mutant(chat_server SLOW_READER_STALLS) # waits until a member has taken what it is to hear
mutant(chat_server POLL_MASK) # `|= ~POLLIN`: asks for POLLOUT for ever, which burns a core
mutant(chat_server LAST_WORDS_LOST) # closes behind its last words, whatever is unread, which resets the connection
mutant(chat_server SPLIT_LINES) # passes on what has come, whole lines or not
mutant(echo_tcp_udp UDP_FIXED_LENGTH) # answers datagrams with a whole buffer
mutant(echo_tcp_udp NO_PKTINFO) # answers from whatever address the route prefers
mutant(echo_tcp_udp WAITING_ARE_RESET) # closes its listener before it has accepted all who wait
mutant(echo_tcp_udp ANSWERS_ITSELF) # answers datagrams from its own port
mutant(echo_signals BUSY_HANDLER) # its handler writes the log
mutant(echo_signals ONE_SIGNAL) # accepts one connection per signal, which may stand for many
mutant(signal_urg NO_OWNER) # nobody owns the socket, so nobody is told
mutant(connect_timeout WRONG_UNIT) # takes microseconds for milliseconds
mutant(idle_list IDLE_NEVER) # does not look whose time is over
mutant(idle_list WAITING_ARE_RESET) # closes its listener before it has accepted all who wait
mutant(idle_list NO_RENEWAL) # a connection has so long to live, idle or not
mutant(timer_bench ROUNDS_IGNORED) # a timer is due when the wheel first passes it
mutant(timer_bench NO_HEAP) # its heap is a list
if(LIBEVENT_FOUND)
    mutant(event_echo DROPS_AT_END) # frees the connection at its end of file, and what waits with it
    mutant(event_echo ENDS_TWICE) # takes a second signal to end for a first one
    mutant(event_echo TIMER_ONCE) # the periodic timer comes once
endif()
mutant(reaper ZOMBIES) # one waitpid for each SIGCHLD, which may stand for many children
mutant(reaper FD_LEAK) # the parent keeps its copy of each connection
mutant(reaper LISTENER_LEAK) # each child keeps its copy of the listening socket
mutant(reaper REAPER_NO_DRAIN) # ends at SIGTERM without answering what has arrived
mutant(semaphores SEM_LEFT) # the semaphore is never removed
mutant(semaphores SEM_FORGOTTEN) # visits without the semaphore
mutant(semaphores NO_UNDO) # a killed process takes the semaphore with it
mutant(chat_shared_memory SHM_LEFT) # the shared memory keeps its name
mutant(chat_shared_memory LAPPED) # a slow member is sent what the log has been overwritten with
mutant(chat_shared_memory TO_SELF) # speakers hear themselves
mutant(message_queue QUEUE_LEFT) # the queue is never removed
mutant(message_queue DROPS_WHEN_FULL) # does not wait for room in the queue
mutant(message_queue FIRST_COME) # types are not looked at
mutant(pass_fd FD_NUMBER) # sends the descriptor's number, which means nothing to another process
mutant(deadlock LOCK_ORDER) # --ordered takes the locks in opposite order all the same
mutant(fork_with_lock ATFORK_CHILD) # nobody unlocks in the child
mutant(signal_thread MASK_LATE) # signals are blocked when the threads run already, in one of them only
mutant(signal_thread STACK_ADDRESS) # threads get the address of a variable that changes, and ends
mutant(lockers RACE) # adds to the sum without the mutex
mutant(echo_thread_pool POOL_LOST_WAKEUP) # waits for a notice without looking at the queue
mutant(echo_thread_pool DETACHED) # frees its pool while threads work in it
mutant(echo_thread_pool WORKER_WAITS) # workers wait for slow readers
mutant(echo_thread_pool WORKER_CLOSE) # the main thread closes connections as well
mutant(load_generator COORDINATED_OMISSION) # measures from when a request could be sent, not from when it was due
mutant(load_generator INVALID_REQUEST) # sends no Host header
mutant(load_generator ENDS_WITHOUT_DESCRIPTORS) # takes the limit of descriptors for its own end
mutant(load_generator NEXT_RANK) # takes the next greater value for a percentile
mutant(load_generator ALL_IS_WELL) # takes whatever comes of a request for an answer
mutant(balancer HALF_CLOSE_LOST) # ends a connection when either side has said its last
mutant(balancer BACKEND_DEATH) # refuses a client whose backend is dead, though there are others
mutant(balancer BIND_ANY) # listens on all addresses
mutant(balancer FIRST_ONLY) # sends all clients to the first backend
mutant(balancer HEALTH_NEVER_BACK) # what was dead once is dead for ever
mutant(balancer RESET_LOST) # ends what was reset as if it had come to its end
mutant(balancer BLOCKS) # waits for one that reads slowly, while others wait
mutant(balancer NO_DESCRIPTORS_KEPT) # accepts clients that it then has no descriptors left to serve
mutant(balancer NO_LIMIT) # accepts more clients than it is allowed
mutant(balancer NEVER_IDLE) # keeps silent connections
mutant(balancer STOPS_AT_ONCE) # ends without letting connections come to their end
mutant(balancer OLD_CONFIG) # keeps what it has read at first
mutant(balancer FORK_IS_FATAL) # ends when there are no more processes to be had
mutant(balancer NOT_REPLACED) # a worker that has died is not missed
mutant(balancer LOGS_UNASKED) # logs connections although it is told not to
mutant(balancer LOGS_TOO_EARLY) # writes a connection's line when it begins, and nothing is known of it yet
mutant(cgi_server CGI_TRAVERSAL) # paths are opened as they come, dots, links and all
mutant(cgi_server CGI_NO_TIMEOUT) # programs run for as long as they like
mutant(cgi_server CGI_NOT_REAPED) # programs that have ended stay zombies
mutant(web_server TRAVERSAL) # opens paths as they come, dots and all
mutant(web_server ENCODED_TRAVERSAL) # looks for dots before it decodes
mutant(web_server FOLLOWS_LINKS) # checks names only, and follows links out of its root
mutant(web_server EMPTY_FILE) # has nothing to send for an empty file, and sends nothing
mutant(web_server ANY_METHOD) # serves whatever the method is
mutant(web_server HEAD_BODY) # answers HEAD with the content
mutant(web_server NO_REDIRECT) # serves a folder under a name without the slash
mutant(web_server BAD_DATE) # writes the date as a number of seconds
mutant(web_server NO_CONDITIONS) # sends what the client has
mutant(web_server RANGE_OFF_BY_ONE) # takes a range's last byte for the one behind it
mutant(web_server ONE_READ) # takes what one read brings for the whole request
mutant(web_server PIPELINE_LOST) # forgets what came behind a request
mutant(web_server BODY_AS_REQUEST) # takes a body for the next request
mutant(web_server KEEP_ALIVE_IGNORES_CLOSE) # keeps connections whatever the client says
mutant(web_server RDHUP_BEFORE_IN) # closes when the client has half-closed, though it has asked
mutant(web_server LINGER_ZERO) # resets every connection, and takes answers back with that
mutant(web_server UNREAD_RST) # closes without a look at what has come meanwhile
mutant(web_server FULL_AND_LISTENING) # goes on listening when a turn has brought as many clients as it may have
mutant(web_server NOBODY_SAYS_STOP) # joins its threads, and does not tell them, when something fails
mutant(web_server FULL_BUFFER_RST) # closes while something is unread, which resets the connection
mutant(web_server NAGLE) # writes head and content apart, and lets Nagle's algorithm hold the second back
mutant(web_server PARTIAL_SEND) # takes what sendfile(2) took for all that there was
mutant(web_server DIES_OF_SIGPIPE) # leaves SIGPIPE as it is
mutant(web_server SLOW_LORIS) # is content with a client that sends anything at all
mutant(web_server IDLE_NEVER) # keeps idle connections for ever
mutant(web_server STOPS_AT_ONCE) # does not finish what it is at
mutant(web_server DRAINS_FOR_EVER) # waits for its slowest reader when it is told to end
mutant(web_server NO_LIMIT) # accepts more clients than it is allowed
mutant(web_server ACCEPT_SPINS) # goes on asking when it has no descriptor left
mutant(web_server LOG_RAW) # lets clients write lines of their own into the log
mutant(cgi_server CGI_ORPHANS) # programs run on when their client has gone
mutant(cgi_server CGI_INHERITS) # programs have the pipes of others
mutant(cgi_server CGI_NO_DRAIN) # SIGTERM ends what has begun
mutant(cgi_server CGI_NO_LIMITS) # bodies of any size, and any number of programs at a time
mutant(cgi_server CGI_LOST_COUNTS) # reads a counter and writes it back, while others count too
mutant(cgi_server CGI_NO_ROOM) # accepts more clients than it is allowed
mutant(cgi_server CGI_NO_ABORT) # an answer that breaks off looks like a whole one
