// `postern dkim testkey`: whether verifiers find our keys in DNS.

internal import ArgumentParser
internal import PosternAuth
internal import PosternDNS
internal import PosternDaemon
internal import PosternMail

struct DKIMTestkey: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "testkey",
        abstract: "Tests whether DNS publishes our keys.",
        usage: """
            postern dkim testkey [<options>] [<domain> [<selector>]]
            postern dkim testkey [<options>] --key <file> --domain <domain>
                --selector <selector>
            """,
        discussion: """
            Asks DNS for the record of each configured key, or of those of <domain>, or of the one with <selector> \
            too, or of the key in a file that is not configured yet; reads it as verifiers do, and holds it against \
            the private key. Prints one line for each key, and one for each note:
              NAME: RESULT (ALGORITHM, BITS bits): expected …, found …; what to do
            RESULT is one of
              ok          verifiers find the key
              waiting     not published yet; an older key of its directory signs
              retired     a newer key of its directory has taken over, and the
                          record is gone or revoked, as it should be
              nxdomain    no such name
              nodata      the name has no TXT record
              several     the name has several TXT records; verifiers may take any
              syntax      the TXT record is no key record
              revoked     p= is empty
              restricted  h= or s= of the record exclude our signatures
              mismatch    the record holds another key
              temperror   DNS could not tell

            postern-dns may have an answer from its cache. --resolver with the address of the zone's own server shows \
            a change at once.

            Of a directory's keys the newest that DNS publishes signs. A key that waits is no fault where all are \
            tested, and one where <selector> names it: so a script can wait for its record.

            With --json, one object on one line; reason is null for ok, and record where there is not exactly one:
              {"keys":[{"domain":"example.com","selector":"2026q4",
              "name":"2026q4._domainkey.example.com","algorithm":"rsa-sha256",
              "bits":2048,"result":"ok","reason":null,"record":"v=DKIM1; …",
              "notes":[]}]}

            EXAMPLES
              postern dkim testkey
              postern dkim testkey example.com 2026q4
              postern dkim testkey --key new.pem --domain example.com --selector s2
              postern dkim testkey --resolver 192.0.2.53 || echo "not yet"

            EXIT STATUS
              0   all keys are ok, retired or, unless named, waiting
              1   one is not
              64  the command line is wrong
              65  the file of --key holds no private key for DKIM
              69  DNS could not tell of one, and the others are ok; or the file of
                  --key cannot be read
              78  the configuration is wrong, has no such key, or one that cannot be
                  used; the others are tested

            FILES
              \(DaemonArguments.defaultConfiguration)
            """)

    @OptionGroup var options: GlobalOptions
    @Argument(help: "Only configured keys of this domain.") var domain: String?
    @Argument(help: "Only the configured key with this selector.") var selector: String?
    @Option(
        help: ArgumentHelp(
            "Test this private key, PEM, - for standard input, with --domain and --selector.", valueName: "file"))
    var key: String?
    @Option(name: .customLong("domain"), help: "The domain that signs, d=, for --key.") var keyDomain: String?
    @Option(name: .customLong("selector"), help: "The selector, s=, for --key.") var keySelector: String?

    func validate() throws { _ = try subject() }

    func output(in surroundings: Surroundings) throws(CommandFailure) -> CommandOutput {
        let subject: Subject
        do throws(ValidationError) { subject = try self.subject() } catch { throw CommandFailure(error) }
        var notes: [String] = []
        let keys: [NamedKey]
        // Named by its selector, a key has to be published.
        var isNamed = true
        var wanted: Set<DomainName> = []
        var hasUnusable = false
        switch subject {
        case .file(let file, let name):
            keys = [NamedKey(name: name, privateKey: try surroundings.privateKey(file))]
            wanted = [name.record]
        case .configured(let domain, let selector):
            let found = try options.configuredKeys(domain, selector, in: surroundings)
            (keys, notes) = (found.all, found.problems)
            wanted = Set(found.keys.map(\.name.record))
            isNamed = selector != nil
            hasUnusable = !notes.isEmpty
        }
        // Whoever names the server needs no more of the configuration, not even a right one.
        let needsNone = options.resolver != nil
        let loaded = needsNone ? LoadedConfiguration() : try options.configurationIfAny(for: .dns, in: surroundings)
        if key != nil { notes += loaded.notes }  // else they are told already
        let log = NoteCollector()
        let resolver = try options.resolver(loaded)
        let tests = try tests(of: keys, dns: surroundings.dns(resolver, log))
            .filter { wanted.contains($0.key.name.record) }
        notes += log.notes(on: resolver)
        let status = hasUnusable ? .badConfiguration : Self.status(tests, mayWait: !isNamed)
        guard !options.json else {
            return CommandOutput(json: ["keys": .list(tests.map(\.json))], notes: notes, status: status)
        }
        return CommandOutput(text: tests.map(\.lines).joined(), notes: notes, status: status)
    }

    /// What is known for certain comes before what nobody could tell.
    private static func status(_ tests: [KeyTest], mayWait: Bool) -> ExitStatus {
        let fine: Set<String> = mayWait ? ["ok", "retired", "waiting"] : ["ok", "retired"]
        let bad = tests.filter { !fine.contains($0.result) }
        let isUnknown = bad.allSatisfy { if case .temporaryFailure? = $0.found.problem { true } else { false } }
        return bad.isEmpty ? .done : isUnknown ? .unavailable : .negative
    }

    // MARK: Asking

    private func tests(of keys: [NamedKey], dns: any DNSAnswering) throws(CommandFailure) -> [KeyTest] {
        let answers = dns.answers(to: keys.map { Question($0.name.record, .txt) })
        var tests: [KeyTest] = []
        for (key, answer) in zip(keys, answers) {
            let found: PublishedKey
            do throws(CryptoError) { found = try PublishedKey(answer, for: key.privateKey) } catch {
                throw CommandFailure(.unavailable, "expected OpenSSL to tell the public key, found \(error)")
            }
            tests.append(KeyTest(key: key, found: found, recordCommand: recordCommand(key.name)))
        }
        KeyTest.takeTurns(&tests)
        lookElsewhere(for: &tests, dns: dns)
        return tests
    }

    /// Looks for records whose name was taken as relative to the zone: the most common mistake of all.
    private func lookElsewhere(for tests: inout [KeyTest], dns: any DNSAnswering) {
        var places: [(index: Int, name: DomainName)] = []
        for (index, test) in tests.enumerated() where ["nxdomain", "nodata", "waiting"].contains(test.result) {
            // A name that is too long cannot have been published.
            if let name = try? test.key.name.domain.prefixed(test.key.name.record) { places.append((index, name)) }
        }
        guard !places.isEmpty else { return }
        let answers = dns.answers(to: places.map { Question($0.name, .txt) })
        for (place, answer) in zip(places, answers) {
            if case .records = answer { tests[place.index].misplaced = place.name }
        }
    }

    private func recordCommand(_ name: DKIMKeyName) -> String {
        let config = options.config.map { "--config \($0) " } ?? ""
        return
            "postern dkim record \(key.map { "\($0) " } ?? config)--domain \(name.domain) --selector \(name.selector)"
    }

    // MARK: Which keys

    /// What the words ask about.
    private enum Subject {
        case configured(DomainName?, DomainName?)
        case file(String, DKIMKeyName)
    }

    private func subject() throws(ValidationError) -> Subject {
        do throws(DKIMKeyNameError) {
            switch (key, keyDomain, keySelector) {
            case (nil, nil, nil):
                return .configured(
                    try domain.map { text throws(DKIMKeyNameError) in
                        try DKIMKeyName.domain(text, as: "<domain>")
                    },
                    try selector.map { text throws(DKIMKeyNameError) in
                        try DKIMKeyName.selector(text, as: "<selector>")
                    })
            case (let file?, let keyDomain?, let keySelector?) where domain == nil:
                return .file(file, try DKIMKeyName(domain: keyDomain, selector: keySelector))
            default:
                throw DKIMKeyNameError(
                    text: "expected --key, --domain and --selector together and nothing beside them, or a domain and "
                        + "selector without these options, found some of them")
            }
        } catch { throw ValidationError(error.text) }
    }
}
