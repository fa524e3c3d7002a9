// `postern dkim sign`: a message as postern-dkim would send it on.

internal import ArgumentParser
internal import PosternAuth
internal import PosternDaemon
internal import PosternMail

struct DKIMSign: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "sign",
        abstract: "Signs a message and prints it.",
        usage: "postern dkim sign [<options>] <file>",
        discussion: """
            Prints the message with one DKIM-Signature field for each key on top; its other octets stay as they are. \
            LF line ends are signed as the CRLF that they become on the way, and the new fields end their lines as \
            the message does. An mbox "From " line stays on top.

            Without --key, the configuration's keys sign that would sign in the daemon: those for the author's \
            domain, under the rule of dkim.author, which --mail-from and --login serve. With --key nothing is asked \
            about the author. What is not given here is taken from the table [dkim] of the configuration.

            EXAMPLES
              postern dkim sign message.eml > signed.eml
              postern dkim sign --key example.com:r1:r1.pem --key example.com:e1:e1.pem -
              postern dkim sign --key r1.pem --domain example.com --selector r1 m.eml

            EXIT STATUS
              0   signed
              1   no key signs for this author; nothing is printed
              64  the command line is wrong
              65  <file> is no message or has no author, or a key file holds no key
              69  a file cannot be read
              78  the configuration is wrong

            FILES
              \(DaemonArguments.defaultConfiguration)
            """)

    @OptionGroup var options: GlobalOptions
    @Option(
        help: ArgumentHelp(
            "Sign with this key; may be repeated. The file alone with --domain and --selector.",
            valueName: "domain:selector:file"))
    var key: [String] = []
    @Option(help: "The domain that signs, d=, for one --key.") var domain: String?
    @Option(help: "The selector, s=, for one --key.") var selector: String?
    @Option(
        help: ArgumentHelp("Canonicalization of header and body, each simple or relaxed.", valueName: "header/body"),
        transform: { text in try Canonicalization(text) })
    var canonicalization: Canonicalization?
    @Option(
        help: ArgumentHelp(
            "Fields to sign, separated by colons; From always is. (default: RFC 6376 §5.4.1's)", valueName: "names"),
        transform: { text in try DKIMSign.fieldNames(text) })
    var signHeaderFields: [String]?
    @Option(
        help: ArgumentHelp("How long the signatures hold, such as 7d; 0s for ever.", valueName: "duration"),
        transform: { text in try DKIMSign.duration(text) })
    var expire: Duration?
    @Option(
        help: ArgumentHelp(
            "The envelope sender, for dkim.author = \"envelope\". (default: the author)", valueName: "address"))
    var mailFrom: String?
    @Option(help: "The login, for dkim.author = \"login\".") var login: String?
    @Option(help: ArgumentHelp("Sign as of this time, in seconds since 1970. (default: now)", valueName: "seconds"))
    var now: Int64?
    @Flag(help: "Print the new fields only.") var fieldsOnly = false
    @Argument(help: "The message; - for standard input.") var file: String

    func validate() throws { _ = try keyArguments() }

    func output(in surroundings: Surroundings) throws(CommandFailure) -> CommandOutput {
        let arguments: [KeyArgument]
        do throws(ValidationError) { arguments = try keyArguments() } catch { throw CommandFailure(error) }
        let message = try surroundings.message(file)
        var settings = DKIMSigningSettings()
        var notes: [String] = []
        let keys: [DKIMSigningKey]
        if arguments.isEmpty {
            let configuration: Configuration
            (configuration, notes) = try options.configurationNeeded(for: .dkim, in: surroundings)
            settings = configuration.dkim.signing
            switch try choice(message, configuration) {
            case .keys(let chosen): keys = try inTurn(chosen, &notes)
            case .none(let reason): return CommandOutput(notes: notes + ["not signed: \(reason)"], status: .negative)
            }
        } else {
            let loaded = try options.configurationIfAny(for: .dns, in: surroundings)  // the keys of the daemon stay closed
            if let configuration = loaded.configuration { settings = configuration.dkim.signing }
            notes = loaded.notes
            keys = try arguments.map { argument throws(CommandFailure) in
                DKIMSigningKey(
                    domain: argument.name.domain, selector: argument.name.selector,
                    privateKey: try surroundings.privateKey(argument.file))
            }
        }
        if let canonicalization {
            settings.headerCanonicalization = canonicalization.header
            settings.bodyCanonicalization = canonicalization.body
        }
        if let signHeaderFields { settings.fields = signHeaderFields }
        if let expire { settings.expire = expire }
        let fields = try message.signatures(
            by: keys, settings: settings, now: now.map { UnixTime(seconds: $0) } ?? surroundings.now())
        guard !options.json else {
            return CommandOutput(
                json: ["fields": .list(fields.map { .octets(MessageFile.text(of: $0)) })], notes: notes)
        }
        let lines = message.lines(of: fields)
        return CommandOutput(octets: fieldsOnly ? lines : message.inserting(lines), notes: notes)
    }

    /// Of the keys of a directory those whose turn it is, which postern-dkim knows; all of them where it does not run.
    private func inTurn(
        _ keys: [DKIMSigningKey], _ notes: inout [String]
    ) throws(CommandFailure) -> [DKIMSigningKey] {
        guard keys.contains(where: { $0.series != nil }) else { return keys }
        let standings = KeyStandingsReport(DaemonControl(options, stated: nil))
        var turns: [DKIMSigningKey] = []
        for key in keys {
            let name: DKIMKeyName
            do throws(DKIMKeyNameError) { name = try DKIMKeyName(domain: key.domain, selector: key.selector) } catch {
                throw CommandFailure(.badConfiguration, error.text)
            }
            if standings[name]?.signs == true { turns.append(key) }
        }
        guard turns.isEmpty else { return turns }
        notes.append(
            "note: whose turn it is of a directory's keys is not known, since postern-dkim does not tell: all sign")
        return keys
    }

    /// The keys that would sign in the daemon.
    private func choice(_ message: MessageFile, _ configuration: Configuration) throws(CommandFailure) -> KeyChoice {
        guard case .one(let mailbox) = message.author else {  // exactly one From with one mailbox
            throw CommandFailure(.badData, "expected a message with one author, found \(message.author)")
        }
        var sender: DomainName? = mailbox.domain
        if let mailFrom {
            let domain = mailFrom.utf8.lastIndex(of: 0x40).map { mailFrom[mailFrom.utf8.index(after: $0)...] }
            // What is no domain is nobody's envelope sender: the rule then finds no key.
            sender = domain.flatMap { try? DomainName(String($0)) }
        }
        return selectKeys(
            localPart: mailbox.localPart, domain: mailbox.domain, mailFrom: sender, login: login.map { Array($0.utf8) },
            rule: configuration.dkim.author, from: configuration.dkim.keys)
    }
}

// MARK: Arguments

/// Header and body in one word. Source: RFC 6376 §3.5, c=.
struct Canonicalization: Hashable, Sendable {
    var header: HeaderCanonicalization
    var body: BodyCanonicalization

    init(_ text: String) throws(ValidationError) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard let first = parts.first, let header = HeaderCanonicalization(rawValue: first), parts.count <= 2,
            // RFC 6376 §3.5: without the second part the body's is simple.
            let body = BodyCanonicalization(rawValue: parts.dropFirst().first ?? "simple")
        else { throw ValidationError("expected simple or relaxed, a slash, and simple or relaxed, found \"\(text)\"") }
        self.header = header
        self.body = body
    }
}

/// One `--key`.
private struct KeyArgument {
    var name: DKIMKeyName
    var file: String
}

extension DKIMSign {
    private func keyArguments() throws(ValidationError) -> [KeyArgument] {
        guard domain != nil || selector != nil else { return try key.map(Self.keyArgument) }
        guard let domain, let selector, let file = key.first, key.count == 1 else {
            throw ValidationError(
                "expected --domain and --selector together, with one --key FILE; "
                    + "several keys are --key DOMAIN:SELECTOR:FILE"
            )
        }
        return [KeyArgument(name: try Self.name(domain, selector), file: file)]
    }

    private static func keyArgument(_ text: String) throws(ValidationError) -> KeyArgument {
        let parts = text.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 3, let domain = parts.first, let file = parts.last, !file.isEmpty else {
            throw ValidationError(
                "--key: expected DOMAIN:SELECTOR:FILE, or FILE with --domain and --selector, found \"\(text)\"")
        }
        return KeyArgument(name: try name(domain, parts.dropFirst().first ?? ""), file: file)
    }

    private static func name(_ domain: String, _ selector: String) throws(ValidationError) -> DKIMKeyName {
        do throws(DKIMKeyNameError) { return try DKIMKeyName(domain: domain, selector: selector) } catch {
            throw ValidationError(error.text)
        }
    }

    /// Source: RFC 5322 §2.2, ftext.
    private static func fieldNames(_ text: String) throws(ValidationError) -> [String] {
        let names = text.split(omittingEmptySubsequences: false) { $0 == ":" || $0 == "," }
            .map { String(decoding: $0.utf8.trimmingFoldingWhiteSpace, as: UTF8.self) }
        guard names.allSatisfy({ !$0.isEmpty && $0.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != 0x3B } }) else {
            throw ValidationError("expected names of header fields separated by colons, found \"\(text)\"")
        }
        return names
    }

    private static func duration(_ text: String) throws(ValidationError) -> Duration {
        guard let duration = Quantity.duration(text) else {
            throw ValidationError("expected a duration such as 12h or 7d, found \"\(text)\"")
        }
        return duration
    }
}
