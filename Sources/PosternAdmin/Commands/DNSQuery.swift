// `postern dns query`: one question, answered as the daemons would hear it.

internal import ArgumentParser
internal import PosternDNS
internal import PosternDaemon
internal import PosternMail

struct DNSQuery: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "query",
        abstract: "Asks postern-dns one question.",
        usage: "postern dns query [<options>] <name> [<type>]",
        discussion: """
            Prints as a zone file would the CNAME records on the way and the records at their end, or else "no such \
            name", "no data" (the name is there, without records of this type), or "temporary failure: " and why. An \
            address in place of <name> asks for its PTR record. The character-strings of a TXT record are joined, as the daemons read \
            them. Query keys in names of DNS lists are shown as (key).

            With --trace postern-dns is asked over its control socket, and tells its way on lines before the answer: \
            what the cache had, which upstream was asked over what and what came of it when, and where the answer came \
            from in the end.

            With --json, one object on one line; result is records, nodata, nxdomain or temperror:
              {"name":"www.example.com","type":"mx","result":"records","ttl":300,
              "cnames":[{"name":"www.example.com","target":"example.com","ttl":300}],
              "records":[{"preference":10,"exchange":"mx1.example.com"}],"reason":null}
            and with --trace one member more; state is absent, fresh, stale, expired, failing or cut, source is static, \
            cache, stale or upstream, event is asked, answered, failed or ignored:
              "trace":{"cache":{"state":"absent"},"steps":[{"time_us":40,
              "upstream":"127.0.0.1","event":"asked","over":"udp","edns":true},…],
              "source":"upstream","time_us":812,"rcode":"NOERROR"}

            EXAMPLES
              postern dns query example.com MX
              postern dns query --trace example.com MX
              postern dns query 192.0.2.1
              postern dns query --resolver 127.0.0.1:5300 2026q4._domainkey.example.com TXT

            EXIT STATUS
              0   answered, be it that there is none
              64  the command line is wrong
              69  temporary failure: nobody could tell
              78  the configuration is wrong

            FILES
              \(DaemonArguments.defaultConfiguration)
            """)

    @OptionGroup var options: GlobalOptions
    @Flag(help: "Tell how postern-dns comes to the answer.") var trace = false
    @Option(
        help: ArgumentHelp(
            "With --trace: where the control sockets are. (default: listen.control)", valueName: "folder"))
    var control: String?
    @Argument(
        help: "A domain name, or an address for its PTR record.", transform: { text in try DNSQuery.subject(text) })
    var name: Subject
    @Argument(
        help: "A, AAAA, CNAME, MX, NS, PTR, SOA, TXT, or TYPE and a number. (default: A; PTR for an address)",
        transform: { text in try DNSQuery.type(text) })
    var type: RecordType?

    /// What is asked about.
    enum Subject: Hashable, Sendable {
        case name(DomainName)
        case address(IPAddress)
    }

    var question: Question {
        switch name {
        case .name(let name): Question(name, type ?? .a)
        case .address(let address): Question(address.reverseName, type ?? .ptr)
        }
    }

    func validate() throws {
        guard !trace || options.resolver == nil else {
            throw ValidationError("expected --trace, which asks postern-dns, or --resolver, found both")
        }
        guard trace || control == nil else { throw ValidationError("expected --control with --trace, found it alone") }
    }

    func output(in surroundings: Surroundings) throws(CommandFailure) -> CommandOutput {
        guard !trace else { return try tracedOutput() }
        let log = NoteCollector()
        let (loaded, resolver) = try options.resolving(in: surroundings)
        let question = question
        let dns: any DNSAnswering = surroundings.dns(resolver, log)
        let said = CNAMELink.answer(to: question, dns: dns)
        let hiding = HidingKeys(loaded.configuration)
        let (shown, answer, links) = (hiding.of(question), hiding.of(said.answer), said.links.map(hiding.of))
        var status = ExitStatus.done
        if case .temporaryFailure = answer { status = .unavailable }
        let notes = loaded.notes + log.notes(on: resolver)
        guard !options.json else {
            return CommandOutput(
                json: AnswerText.json(shown, answer, links: links), notes: notes, status: status)
        }
        return CommandOutput(text: AnswerText.lines(shown, answer, links: links), notes: notes, status: status)
    }

    /// Longest wait: all that a question may take upstream, and a while.
    private static let traceSilence = Duration.seconds(60)

    private func tracedOutput() throws(CommandFailure) -> CommandOutput {
        let asked = DaemonControl(options, stated: control)
        let question = question
        let command = ControlCommand(
            "dns trace", ["name": .text("\(question.name)"), "type": .text("\(question.type)")])
        let document = try asked.lateDocument(of: .dns, command, silence: Self.traceSilence)
        guard let trace = TraceText(document) else {
            throw CommandFailure(.unavailable, "postern-dns: expected a trace, found something else")
        }
        var status = ExitStatus.done
        if case .temporaryFailure = trace.answer { status = .unavailable }
        guard !options.json else { return CommandOutput(json: trace.json, notes: asked.notes, status: status) }
        let text = trace.lines + AnswerText.lines(trace.question, trace.answer, links: trace.links)
        return CommandOutput(text: text, notes: asked.notes, status: status)
    }

    private static func subject(_ text: String) throws(ValidationError) -> Subject {
        if let address = IPAddress(text) { return .address(address) }
        if text == "." { return .name(.root) }
        do throws(DomainNameError) { return .name(try DomainName(text)) } catch {
            throw ValidationError(
                "expected a domain name or an address, found \"\(ZoneName.redacted(text))\", \(error)")
        }
    }

    private static func type(_ text: String) throws(ValidationError) -> RecordType {
        guard let type = RecordType(text), type != .opt else {
            throw ValidationError("expected a record type such as A, MX, TXT or TYPE65, found \"\(text)\"")
        }
        return type
    }
}
