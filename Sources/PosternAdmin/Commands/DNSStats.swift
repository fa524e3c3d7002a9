// `postern dns stats`: whose questions the cache answers, and where time is lost.

internal import ArgumentParser
internal import PosternDaemon

struct DNSStats: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "stats",
        abstract: "Tells what the DNS cache has answered, by zone and by client, and how the upstreams are.",
        usage: "postern dns stats [<options>]",
        discussion: """
            Asks postern-dns over its control socket. Counted since it was started:
              questions  of clients
              hits       answered at once: by the cache or the static zone, in percent of what was answered
              stale      answered with what was no longer fresh, since upstreams had no answer (RFC 8767)
              failed     answered SERVFAIL
            Zones are those of [[dns.zone]] and the DNS lists; "mail authentication" are TXT questions elsewhere (SPF, \
            DKIM, DMARC). Clients are users of this machine by their UNIX sockets, "tcp", "udp", and "control" for \
            postern dns query --trace. An upstream's failures are queries without an answer of use; its round trip is \
            smoothed. Query keys in zones are shown as (key).

            With --json, one object on one line; hits_per_mille and round_trip_us are null while nothing is known:
              {"zones":[{"zone":"zen.spamhaus.org","questions":7,"cached":3,"local":0,
              "stale":0,"asked":4,"failed":0,"hits_per_mille":428}],
              "clients":[{"client":"postern-dmarc","questions":7,…}],
              "upstreams":[{"upstream":"127.0.0.1","queries":5,"failures":0,
              "round_trip_us":812,"left":false}],
              "cache":{"answers":7,"octets":4096,"evictions":0,"prefetches":0}}

            EXAMPLES
              postern dns stats
              postern dns stats --json | jq '.upstreams[] | select(.left)'

            EXIT STATUS
              0   done
              64  the command line is wrong
              69  postern-dns does not run, or does not answer

            FILES
              \(DaemonArguments.defaultConfiguration)
            """)

    @OptionGroup var options: GlobalOptions
    @OptionGroup var place: ControlArguments

    func output(in surroundings: Surroundings) throws(CommandFailure) -> CommandOutput {
        let asked = DaemonControl(options, place)
        let document = try asked.document(of: .dns, ControlCommand("dns stats"))
        return options.output(StatisticsText.text(document), json: JSONValue(document), notes: asked.notes)
    }
}
