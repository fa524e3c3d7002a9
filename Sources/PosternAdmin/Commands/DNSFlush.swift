// `postern dns flush`: the cache forgets what the admin knows to be wrong by now.

internal import ArgumentParser
internal import PosternDaemon
internal import PosternMail

struct DNSFlush: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "flush",
        abstract: "Lets the DNS cache forget a name, a zone, or everything.",
        usage: "postern dns flush [<options>] <name>\n       postern dns flush [<options>] --zone <zone> | --all",
        discussion: """
            postern-dns forgets its answers, remembered failures and stale answers included, and tells how many they \
            were:
              <name>         all types of this name, and what says of a name above it that nothing is below
              --zone <zone>  the zone's name and all names below it
              --all          everything
            What is asked upstream at that moment is newer, and stays. The static zone is part of the configuration: \
            postern reload reads it again. The snapshot that outlives a restart is written anew.

            With --json, one object on one line: {"flushed":3}

            EXAMPLES
              postern dns flush 2026q4._domainkey.example.com
              postern dns flush --zone example.com
              postern dns flush --all

            EXIT STATUS
              0   done, also when there was nothing to forget
              64  the command line is wrong
              69  postern-dns does not run, or does not answer

            FILES
              \(DaemonArguments.defaultConfiguration)
            """)

    @OptionGroup var options: GlobalOptions
    @OptionGroup var place: ControlArguments
    @Option(
        help: ArgumentHelp("Forget this zone and all names below it.", valueName: "zone"),
        transform: { text in try DNSFlush.name(text) })
    var zone: DomainName?
    @Flag(help: "Forget everything.") var all = false
    @Argument(help: "Forget this name.", transform: { text in try DNSFlush.name(text) })
    var name: DomainName?

    func validate() throws {
        guard [name != nil, zone != nil, all].count(where: \.self) == 1 else {
            throw ValidationError("expected one of a name, --zone and --all")
        }
    }

    func output(in surroundings: Surroundings) throws(CommandFailure) -> CommandOutput {
        let asked = DaemonControl(options, place)
        let command = ControlCommand(
            "dns flush",
            [
                "name": name.map { .text("\($0)") } ?? .null, "zone": zone.map { .text("\($0)") } ?? .null,
                "all": all ? .boolean(true) : .null,
            ])
        let document = try asked.document(of: .dns, command)
        let count = try asked.number("flushed", of: "answers", in: document, of: .dns)
        return options.output(
            count == 1 ? "1 answer forgotten\n" : "\(count) answers forgotten\n", json: ["flushed": .number(count)],
            notes: asked.notes)
    }

    private static func name(_ text: String) throws(ValidationError) -> DomainName {
        if text == "." { return .root }
        do throws(DomainNameError) { return try DomainName(text) } catch {
            throw ValidationError("expected a domain name, found \"\(ZoneName.redacted(text))\", \(error)")
        }
    }
}
