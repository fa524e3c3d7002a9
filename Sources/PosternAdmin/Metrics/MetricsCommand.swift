// `postern metrics`: all daemons' numbers as one page, served to a scraper or printed once.

internal import ArgumentParser
internal import Glibc
internal import PosternDaemon
internal import PosternMail
internal import PosternSocket

struct MetricsCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "metrics",
        abstract: "Serves the daemons' metrics to Prometheus, or prints them once.",
        usage: "postern metrics [<options>] [<daemon> ...]",
        discussion: """
            Serves one page, /metrics, with the numbers of all daemons of this host: what they counted, how long \
            verdicts, decisions and DNS took, what their processes cost, and how their stores, DNS lists and keys are; \
            and when the last backup was made, and the last one tested. \
            A daemon that does not answer within 5 seconds is told as down: postern_up{daemon="postern-dkim"} 0. Those \
            that not every host has (dmarc, policy, rate) are looked at where they have a control socket, and from then \
            on; naming daemons makes them expected from the beginning. --list shows every metric with its labels and \
            what it counts.

            The page is OpenMetrics 1.0 for a scraper that asks for it, and Prometheus's text form 0.0.4 for others. \
            There is no TLS and no login, and the page tells how much mail a host has: listen on a loopback address, or \
            behind a proxy. 9154 is also the port of the exporter for Postfix; a host with both gives --listen another. \
            postern-metrics.service runs it as the user postern-metrics, to whom daemons tell their \
            metrics and nothing else. Requests are answered from one page a second at most, so that nobody can make the \
            daemons busy. SIGTERM ends it; SIGHUP changes nothing.

            With --once the page is printed instead, in the text form, as node_exporter's textfile collector wants it; \
            with --json as one object on one line:
              {"metrics":[{"name":"postern_up","type":"gauge","samples":[
              {"labels":{"daemon":"postern-dkim"},"value":"1"}]},
              {"name":"postern_dkim_verdict_seconds","type":"histogram","samples":[
              {"labels":{"action":"sign"},"buckets":[{"le":"0.001","count":3}],
              "sum":"0.0021","count":3}]}]}
            Values are texts, since some have fractions; counts of buckets are not summed up.

            EXAMPLES
              postern metrics --once
              postern metrics --listen 127.0.0.1:9154
              postern metrics --listen unix:/run/postern/metrics.sock dns dkim dmarc
              postern metrics --once >/var/lib/prometheus/node-exporter/.postern &&
                  mv /var/lib/prometheus/node-exporter/.postern \\
                  /var/lib/prometheus/node-exporter/postern.prom
              curl -s http://127.0.0.1:9154/metrics | grep postern_up

            EXIT STATUS
              0   printed, also where a daemon is down; served until it was told to end
              64  the command line is wrong
              69  it cannot listen there

            FILES
              \(DaemonArguments.defaultConfiguration)
            """)

    @OptionGroup var options: GlobalOptions
    @OptionGroup var place: ControlArguments
    @Option(
        help: ArgumentHelp(
            "Serve the page there: ADDRESS:PORT or unix:PATH. (default: 127.0.0.1:9154)", valueName: "place"),
        transform: { text in try Self.endpoint(text) })
    var listen: Endpoint?
    @Flag(help: "Print the page and end.") var once = false
    @Flag(help: "Print a table of all metrics and end.") var list = false
    @Option(
        help: ArgumentHelp("With --once: text or openmetrics. (default: text)", valueName: "form"),
        transform: { text in
            guard let format = MetricsFormat(rawValue: text) else {
                throw ValidationError("expected text or openmetrics, found \"\(LogText.escaped(text.utf8))\"")
            }
            return format
        })
    var format: MetricsFormat?
    @Argument(
        help: ArgumentHelp("The daemons to expect. (default: those of this host)", valueName: "daemon"),
        transform: { text in try DaemonArgument.name(text) })
    var daemons: [DaemonName] = []

    /// Where Prometheus's list of ports has an exporter for Postfix.
    static let defaultPlace = Endpoint.tcp(host: "127.0.0.1", port: 9154)

    func validate() throws {
        guard !(once && list) else { throw ValidationError("expected --once or --list, found both") }
        if once || list {
            guard listen == nil else { throw ValidationError("expected --listen or --once, found both") }
        } else {
            guard !options.json else { throw ValidationError("expected --once with --json, found --json alone") }
        }
        if format != nil {
            guard once, !options.json else { throw ValidationError("expected --format with --once, without --json") }
        }
        guard !(list && options.json) else { throw ValidationError("expected --list or --json, found both") }
    }

    func output(in surroundings: Surroundings) throws(CommandFailure) -> CommandOutput {
        if list { return CommandOutput(text: MetricsTable.text) }
        let control = DaemonControl(options, place)
        let collector = MetricsCollector(control, named: daemons, state: stateFolder)
        guard once else {
            for note in control.notes { surroundings.tell(note) }
            try serve(collector, surroundings)
            return CommandOutput()
        }
        let page = collector.page()
        return options.output(page.text(format ?? .text), json: page.json, notes: control.notes)
    }

    /// `.dns` opens no keys; what is wrong with the file is told elsewhere.
    private var stateFolder: String? {
        Configuration.load(path: options.configPath, for: .dns).readable?.state.directory
    }

    // MARK: Serving

    /// Serves until a signal ends it.
    private func serve(_ collector: MetricsCollector, _ surroundings: Surroundings) throws(CommandFailure) {
        let place = listen ?? Self.defaultPlace
        do throws(SocketError) {
            try DaemonSignals.install()  // before any thread is made
            let server = try MetricsServer(listener: try Socket.listen(place)) { collector.page() }
            try Thread.start(name: "metrics") {
                server.run()
                DaemonSignals.raise(.stop)
            }.detach()
            if !place.isPrivate {
                surroundings.tell("warning: \(place) is not a loopback address: whoever reaches it can read the page")
            }
            surroundings.tell("serving http metrics on \(place)")
            ServiceNotification().ready()
            while DaemonSignals.wait() != .stop {}
            ServiceNotification().stopping()
            server.stop()
            Socket.removeFile(of: place)
        } catch {
            throw CommandFailure(.unavailable, Self.text(of: error, at: place))
        }
    }

    /// What went wrong, and what to do about it where that is known.
    static func text(of error: SocketError, at place: Endpoint) -> String {
        guard case .system(_, let code) = error else { return "\(error)" }
        let isNetwork = if case .unix = place { false } else { true }
        let remedy =
            switch code {
            case EADDRINUSE: "; another program listens there: ss -ltnp names it; --listen takes another place"
            case EADDRNOTAVAIL: "; this machine has no such address: ip address shows those that it has"
            case EACCES where isNetwork: "; ports below 1024 are root's"
            case ENOENT: "; its folder must be there"
            default: ""
            }
        return "cannot \(error)\(remedy)"
    }

    /// - Parameter text: `ADDRESS:PORT`, `[V6]:PORT`, or a spelling of the configuration's.
    static func endpoint(_ text: String) throws(ValidationError) -> Endpoint {
        if let (host, port) = Endpoint.hostAndPort(text), host == "localhost" || IPAddress(host) != nil {
            return .tcp(host: host, port: port)
        }
        do throws(EndpointError) {
            let endpoint = try Endpoint(text)
            if case .udp = endpoint { throw EndpointError.unknownForm(text) }
            return endpoint
        } catch {
            throw ValidationError(
                "expected ADDRESS:PORT or unix:PATH, found \"\(LogText.escaped(text.utf8))\"")
        }
    }
}

extension Endpoint {
    /// Only this machine reaches it.
    fileprivate var isPrivate: Bool {
        switch self {
        case .unix: true
        case .tcp(let host, _), .udp(let host, _): host == "localhost" || IPAddress(host)?.isLoopback == true
        }
    }
}

extension MetricsPage {
    var json: JSONValue {
        [
            "metrics": .list(
                families.map { family, samples in
                    [
                        "name": .text(family.name), "type": .text(family.kind.rawValue),
                        "samples": .list(samples.map(\.json)),
                    ]
                })
        ]
    }
}

extension MetricsPage.Sample {
    fileprivate var json: JSONValue {
        let labels = JSONValue.object(labels.map { .init(key: $0.key, value: .text($0.value)) })
        switch value {
        case .whole(let number): return ["labels": labels, "value": .text("\(number)")]
        case .microseconds(let time): return ["labels": labels, "value": .text(Self.decimal(time, digits: 6))]
        case .histogram(let histogram):
            let buckets = histogram.buckets.enumerated().map { place, count -> JSONValue in
                let bound = histogram.bounds.dropFirst(place).first.map { Self.decimal($0, digits: 6) } ?? "+Inf"
                return ["le": .text(bound), "count": .number(Int(count))]
            }
            let count = histogram.buckets.reduce(0, &+)
            return [
                "labels": labels, "buckets": .list(buckets), "sum": .text(Self.decimal(histogram.sum, digits: 9)),
                "count": .number(Int(count)),
            ]
        }
    }
}
