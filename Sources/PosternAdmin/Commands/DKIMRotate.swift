// `postern dkim rotate`: the next keys in a domain's key directory. When they sign is postern-dkim's to see: once DNS
// publishes them. No configuration is edited and no key is removed.

internal import ArgumentParser
internal import PosternAuth
internal import PosternDaemon
internal import PosternMail

struct DKIMRotate: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "rotate",
        abstract: "Makes a domain's next DKIM keys and prints what to publish.",
        usage: "postern dkim rotate [<options>] <domain>",
        discussion: """
            For a domain whose [[dkim.key]] has a directory. Makes a key of each algorithm that the keys there have, \
            as large as the newest of them, or an RSA key of \(KeyAdvice.goodRSABits) bits where there is none; \
            prints the TXT records as lines for a zone file; and lets postern-dkim read the directory again. The \
            selector is today's date such as 20261121, for Ed25519 with an e behind it.

            Publish the records. postern-dkim asks DNS every five minutes, and when it is reloaded, and signs with a \
            new key once it is published; until then the older one signs. The older record stays for dkim.keep_published after that: the \
            log says when it may go, and so does `postern dkim keys`.

            With --json, one object on one line; reloaded is false where postern-dkim has refused its configuration, \
            null where it does not run or does not answer:
              {"keys":[{"name":"20261121._domainkey.example.com","type":"txt",
              "value":"v=DKIM1; …","strings":["v=DKIM1; …","…"],
              "file":"/etc/postern/keys/example.com/20261121.pem",
              "algorithm":"rsa-sha256"}],"reloaded":true}

            EXAMPLES
              postern dkim rotate example.com
              postern dkim rotate example.com --rsa --ed25519 >> zone

            EXIT STATUS
              0   the keys were made
              64  the command line is wrong
              69  a file could not be read or written
              78  the configuration is wrong or names no directory of the domain, or
                  postern-dkim refused it

            FILES
              \(DaemonArguments.defaultConfiguration)
            """)

    @OptionGroup var options: GlobalOptions
    @OptionGroup var place: ControlArguments
    @Flag(help: "Make an RSA key, whatever the others are.") var rsa = false
    @Flag(help: "Make an Ed25519 key (RFC 8463), whatever the others are.") var ed25519 = false
    @Argument(help: ArgumentHelp("The domain that signs, d=.", valueName: "domain")) var domain: String

    func validate() throws { _ = try DKIMKeyName.domain(domain, as: "<domain>") }

    func output(in surroundings: Surroundings) throws(CommandFailure) -> CommandOutput {
        let domain: DomainName
        do throws(DKIMKeyNameError) { domain = try DKIMKeyName.domain(self.domain, as: "<domain>") } catch {
            throw CommandFailure(.usage, error.text)
        }
        let result = options.load(for: .dkim, in: surroundings)
        guard let dkim = result.readable?.dkim else { throw options.failure(result) }
        let folder = try folder(of: domain, dkim.directories)
        let entries = dkim.entries.filter { $0.domain == domain }
        let here = entries.filter { $0.directory == folder }
        let kinds = try kinds(after: here, in: surroundings)
        guard here.count + kinds.count <= DKIMKeyDirectory.maxKeys else {
            throw CommandFailure(
                .badConfiguration,
                "\(folder): expected at most \(DKIMKeyDirectory.maxKeys) keys with the new ones, found \(here.count) "
                    + "already; remove those whose records are gone, as `postern dkim keys` tells")
        }
        let date = LogTimeText(offset: 0).day(surroundings.now()).replacing("-", with: "")
        var selectors = Set(entries.map(\.selector))
        var made: [MadeKey] = []
        for kind in kinds {
            let name = try Self.name(date, kind, domain, besides: selectors)
            selectors.insert(name.selector)
            made.append(
                try MadeKey(
                    kind, name, path: "\(folder)/\(name.selector).pem", owner: surroundings.keyOwner(), replace: false))
        }
        return told(made, keep: dkim.keepPublished, isFirst: here.isEmpty)
    }

    private func folder(of domain: DomainName, _ directories: [DKIMKeyDirectory]) throws(CommandFailure) -> String {
        let folders = Set(directories.filter { $0.domain == domain }.map(\.path))
        guard let folder = folders.first, folders.count == 1 else {
            throw CommandFailure(
                .badConfiguration,
                "\(options.configPath): expected one [[dkim.key]] of domain \"\(domain)\" with a directory, found "
                    + (folders.isEmpty ? "none" : "\(folders.count)")
                    + "; write directory = \"keys/\(domain)\" there in place of selector and file")
        }
        return folder
    }

    /// What is made: as what is asked for, or as what is there.
    private func kinds(
        after entries: [DKIMKeyEntry], in surroundings: Surroundings
    ) throws(CommandFailure) -> [PrivateKey.Kind] {
        var bits: Int?
        var hasEd25519 = false
        for entry in entries {  // oldest first
            do throws(DKIMKeyEntryError) {
                let key = try entry.privateKey(for: surroundings.keyReader())
                if key.algorithm == .ed25519SHA256 { hasEd25519 = true } else { bits = key.bits }
            } catch {
                var failure = CommandFailure(.unavailable, "\(entry.keyPath): \(error)")
                failure.notes = [KeyAdvice.onRights(of: surroundings.keyReader())].compactMap(\.self)
                throw failure
            }
        }
        let isAsked = rsa || ed25519
        let wantsRSA = isAsked ? rsa : bits != nil || !hasEd25519
        let wantsEd25519 = isAsked ? ed25519 : hasEd25519
        return (wantsRSA ? [.rsa(bits: bits ?? KeyAdvice.goodRSABits)] : []) + (wantsEd25519 ? [.ed25519] : [])
    }

    /// `20261121` or `20261121e`, with a letter more where that is taken.
    private static func name(
        _ date: String, _ kind: PrivateKey.Kind, _ domain: DomainName, besides taken: Set<DomainName>
    ) throws(CommandFailure) -> DKIMKeyName {
        var base = date
        if case .ed25519 = kind { base += "e" }
        // No e: it stands for Ed25519.
        for letter in [""] + "bcdfghijklmnopqrstuvwxyz".map(String.init) {
            let name: DKIMKeyName
            do throws(DKIMKeyNameError) {
                name = try DKIMKeyName(domain: domain, selector: DKIMKeyName.selector(base + letter, as: "selector"))
            } catch { throw CommandFailure(.badConfiguration, error.text) }
            if !taken.contains(name.selector) { return name }
        }
        throw CommandFailure(.unavailable, "expected a selector of today that is free, found all taken")
    }

    private func told(_ made: [MadeKey], keep: Duration, isFirst: Bool) -> CommandOutput {
        let asked = DaemonControl(options, place)
        var notes = made.flatMap(\.notes) + asked.notes
        var reloaded: Bool?
        switch asked.ask(.dkim, "reload") {
        case .document(let answer):
            reloaded = answer["result"]?.text == "adopted"
            if reloaded == false {
                notes += (answer["problems"]?.elements ?? []).map { DaemonArgument.problem($0) }
                notes.append("error: postern-dkim refused its configuration and does not know the new keys yet")
            }
        case .notRunning: notes.append("note: postern-dkim does not run; it takes the new keys when it starts")
        case .failed(let text):
            notes.append("warning: postern-dkim: \(text); it takes the new keys with `postern reload dkim`")
        }
        let status = reloaded == false ? ExitStatus.badConfiguration : .done
        let next =
            "Publish \(made.count == 1 ? "this record" : "these records"). "
            + (isFirst
                ? "Mail is signed at once: nobody signed before."
                : "postern-dkim signs with \(made.count == 1 ? "it" : "each") once DNS has it, and with the older key until "
                    + "then.\nThe older record stays published for \(Quantity.duration(keep)) after that; the log says when "
                    + "it may go.")
            + "\n`postern dkim keys` tells how things stand."
        return options.output(
            made.map(\.zoneText).joined() + ZoneText.comment(next),
            json: [
                "keys": .list(made.map(\.json)), "reloaded": reloaded.map { .boolean($0) } ?? .null,
            ], notes: notes, status: status)
    }
}
