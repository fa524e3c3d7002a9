import PosternAuth
import PosternMail
import Testing

/// From findings to what is done: one row a rule.
@Suite("local policy")
struct LocalPolicyTests {
    static let author = Result { try DomainName("mail.example.com") }
    static let sender = Result { try DomainName("example.org") }

    static func dmarc(
        _ result: DMARCResult, _ policy: DMARCPolicy? = nil, testing: Bool = false
    ) throws -> DMARCFinding {
        let reason: DMARCReason =
            switch result {
            case .pass: .aligned
            case .fail: .notAligned
            case .none: .noRecord
            case .temperror: .recordUnavailable(try author.get(), "SERVFAIL")
            case .permerror: .noAuthor
            }
        let applied = policy.map { testing ? $0.whileTesting : $0 } ?? .none
        return DMARCFinding(
            result: result, reason: reason, authorDomain: result == .permerror ? nil : try author.get(),
            published: policy.map { DMARCPublishedPolicy(policy: $0, isTesting: testing) }, policy: policy,
            policyTag: policy.map { _ in .p }, applied: result == .fail ? applied : .none)
    }

    static func spf(_ result: SPFResult, explanation: String? = nil) throws -> SPFFinding {
        let helo = HELOIdentity(Array("mx.example.org".utf8))
        let identity = MailFromIdentity(sender: Array("ann@\(try sender.get())".utf8), helo: helo)
        let reason: SPFReason =
            switch result {
            case .temperror: .dnsFailure(try sender.get(), "SERVFAIL from 192.0.2.53")
            case .permerror: .tooManyLookups
            case .none: .noRecord
            default: .matched
            }
        return SPFFinding(
            result: result, reason: reason, identity: .mailFrom(identity), mechanism: reason == .matched ? "-all" : nil,
            explanation: explanation)
    }

    static func settings(_ change: (inout LocalPolicySettings) -> Void) -> LocalPolicy {
        var settings = LocalPolicySettings()
        change(&settings)
        return LocalPolicy(settings)
    }

    static func message(
        _ dmarc: [DMARCFinding], spf: SPFResult = .none, hasListID: Bool = false, dkim: [DKIMFinding] = [],
        client: String = "192.0.2.7"
    ) throws -> JudgedMessage {
        JudgedMessage(
            client: IPAddress(client), spf: [try Self.spf(spf)], dkim: dkim, dmarc: dmarc, hasListID: hasListID)
    }

    // MARK: DMARC

    struct Row: Sendable, CustomTestStringConvertible {
        var name: String
        var result: DMARCResult
        var policy: DMARCPolicy?
        var testing = false
        var listed = false
        var spf = SPFResult.none
        var change: @Sendable (inout LocalPolicySettings) -> Void = { _ in }
        var action: MailAction
        var disposition: DMARCDisposition
        var override: DMARCOverride?
        var testDescription: String { name }
    }

    @Test(
        "what is done about one author, and what reports say",
        arguments: [
            Row(name: "pass", result: .pass, policy: .reject, action: .accept, disposition: .pass),
            Row(name: "no policy", result: .none, action: .accept, disposition: .none),
            Row(name: "p=none", result: .fail, policy: DMARCPolicy.none, action: .accept, disposition: .none),
            Row(
                name: "p=quarantine", result: .fail, policy: .quarantine, action: .quarantine, disposition: .quarantine),
            Row(  // RFC 9989 §7.4
                name: "p=reject is not rejected by default", result: .fail, policy: .reject, action: .quarantine,
                disposition: .quarantine, override: .localPolicy),
            Row(
                name: "on_reject = reject", result: .fail, policy: .reject, change: { $0.dmarc.onReject = .reject },
                action: .reject, disposition: .reject),
            Row(
                name: "on_reject = accept", result: .fail, policy: .reject, change: { $0.dmarc.onReject = .accept },
                action: .accept, disposition: .none, override: .localPolicy),
            Row(
                name: "on_quarantine = hold", result: .fail, policy: .quarantine,
                change: { $0.dmarc.onQuarantine = .hold }, action: .hold, disposition: .quarantine),
            Row(  // RFC 9989 §4.7, t
                name: "p=reject; t=y", result: .fail, policy: .reject, testing: true,
                change: { $0.dmarc.onReject = .reject }, action: .quarantine, disposition: .quarantine,
                override: .policyTestMode),
            Row(
                name: "p=quarantine; t=y", result: .fail, policy: .quarantine, testing: true, action: .accept,
                disposition: .none, override: .policyTestMode),
            Row(
                name: "p=reject; t=y, on_quarantine = accept is local", result: .fail, policy: .reject, testing: true,
                change: { $0.dmarc.onQuarantine = .accept }, action: .accept, disposition: .none,
                override: .localPolicy),
            Row(
                name: "a mailing list that passes SPF for itself", result: .fail, policy: .reject, listed: true,
                spf: .pass, change: { $0.dmarc.onReject = .reject }, action: .quarantine, disposition: .quarantine,
                override: .mailingList),
            Row(
                name: "mailing_list = accept", result: .fail, policy: .reject, listed: true, spf: .pass,
                change: { $0.dmarc.mailingList = .accept }, action: .accept, disposition: .none,
                override: .mailingList),
            Row(
                name: "a mailing list is never treated worse", result: .fail, policy: .reject, listed: true, spf: .pass,
                change: { $0.dmarc.onReject = .accept }, action: .accept, disposition: .none, override: .localPolicy),
            Row(
                name: "List-Id without SPF", result: .fail, policy: .reject, listed: true, spf: .neutral,
                change: { $0.dmarc.onReject = .reject }, action: .reject, disposition: .reject),
            Row(
                name: "SPF without List-Id", result: .fail, policy: .reject, spf: .pass,
                change: { $0.dmarc.onReject = .reject }, action: .reject, disposition: .reject),
            Row(name: "temperror", result: .temperror, action: .accept, disposition: .none),
            Row(
                name: "on_temperror = quarantine", result: .temperror, change: { $0.dmarc.onTemperror = .quarantine },
                action: .quarantine, disposition: .quarantine, override: .localPolicy),
            Row(
                name: "on_temperror = defer: nothing was done yet", result: .temperror,
                change: { $0.dmarc.onTemperror = .defer }, action: .defer, disposition: .none),
            Row(
                name: "an invalid author", result: .permerror, action: .reject, disposition: .reject,
                override: .localPolicy),
            Row(
                name: "on_invalid_author = hold", result: .permerror, change: { $0.dmarc.onInvalidAuthor = .hold },
                action: .hold, disposition: .quarantine, override: .localPolicy),
            Row(
                name: "require: no policy", result: .none, change: Self.required, action: .reject, disposition: .reject,
                override: .localPolicy),
            Row(
                name: "require: p=none", result: .fail, policy: DMARCPolicy.none, change: Self.required,
                action: .reject, disposition: .reject, override: .localPolicy),
            Row(
                name: "require: t=y", result: .fail, policy: .reject, testing: true, change: Self.required,
                action: .reject, disposition: .reject),
            Row(
                name: "require: a mailing list", result: .fail, policy: .reject, listed: true, spf: .pass,
                change: Self.required, action: .reject, disposition: .reject),
            Row(name: "require: pass", result: .pass, change: Self.required, action: .accept, disposition: .pass),
            Row(
                name: "require: temperror is no failure", result: .temperror, change: Self.required, action: .accept,
                disposition: .none),
            Row(
                name: "shadow", result: .fail, policy: .reject,
                change: {
                    $0.dmarc.onReject = .reject
                    $0.dmarc.isShadow = true
                }, action: .accept, disposition: .none, override: .localPolicy),
        ])
    func dmarc(_ row: Row) throws {
        let finding = try Self.dmarc(row.result, row.policy, testing: row.testing)
        let decision = Self.settings(row.change).decision(
            on: try Self.message([finding], spf: row.spf, hasListID: row.listed))
        #expect(decision.measure.action == row.action)
        #expect(decision.applied == [.init(disposition: row.disposition, override: row.override)])
        #expect((decision.measure.reply != nil) == (row.action == .reject || row.action == .defer))
    }

    @Test(
        "require without a record: the author's very domain is what must pass, and DNS trouble is no failure",
        arguments: [
            (DKIMResult.pass, "mail.example.com", MailAction.accept, MailAction.accept),
            (.pass, "MAIL.example.com", .reject, .accept),
            (.pass, "example.com", .accept, .reject),  // RFC 9989 §4.10.2: without a record nothing else aligns
            (.fail, "mail.example.com", .accept, .reject), (.temperror, "mail.example.com", .accept, .accept),
            (.temperror, "mail.example.com", .defer, .defer), (.temperror, "example.com", .defer, .reject),
        ])
    func requiredWithoutRecord(
        _ result: DKIMResult, _ signer: String, _ onTemperror: MailAction, _ action: MailAction
    ) throws {
        let policy = Self.settings {
            Self.required(&$0)
            $0.dmarc.onTemperror = onTemperror
        }
        let signature = DKIMFinding(result: result, reason: .none, domain: try DomainName(signer))
        let message = try Self.message([Self.dmarc(.none)], dkim: [signature])
        #expect(policy.decision(on: message).measure.action == action)
        var sent = try Self.message([Self.dmarc(.none)])
        let helo = HELOIdentity(Array("mx.example.org".utf8))
        let identity = MailFromIdentity(sender: Array("ann@\(signer)".utf8), helo: helo)
        sent.spf = [
            SPFFinding(
                result: result == .pass ? .pass : result == .fail ? .fail : .temperror, reason: .matched,
                identity: .mailFrom(identity))
        ]
        #expect(policy.decision(on: sent).measure.action == action)
        sent.spf = [SPFFinding(result: .pass, reason: .matched, identity: .helo(HELOIdentity(Array(signer.utf8))))]
        #expect(policy.decision(on: sent).measure.action == .reject, "HELO is not the author (RFC 9989 §4.4.2)")
    }

    static let required: @Sendable (inout LocalPolicySettings) -> Void = { settings in
        settings.dmarc.onReject = .reject
        if let domain = try? DomainName("example.com") { settings.dmarc.require = [.below(domain)] }  // a name
    }

    @Test("the strictest author decides, and the mildest does not excuse him")
    func severalAuthors() throws {
        let policy = Self.settings { $0.dmarc.onReject = .reject }
        let decision = policy.decision(
            on: try Self.message([
                Self.dmarc(.pass, .reject), Self.dmarc(.fail, .quarantine), Self.dmarc(.fail, .reject),
                Self.dmarc(.temperror),
            ]))
        #expect(decision.measure.action == .reject)
        #expect(decision.applied.map(\.disposition) == [.reject, .reject, .reject, .reject])
        #expect(decision.applied.map(\.override) == [.localPolicy, .localPolicy, nil, .localPolicy])
    }

    // MARK: Exceptions

    @Test(
        "who is a trusted forwarder",
        arguments: [
            ("client", "192.0.2.7", DKIMResult.none, "example.net", true),
            ("client", "192.0.2.8", .none, "example.net", false),
            ("client", "::ffff:192.0.2.7", .none, "example.net", true),
            ("dkim", "192.0.2.8", .pass, "example.net", true), ("dkim", "192.0.2.8", .fail, "example.net", false),
            ("dkim", "192.0.2.8", .temperror, "example.net", false),
            ("dkim", "192.0.2.8", .pass, "a.example.net", false),
            ("both", "192.0.2.7", .pass, "example.net", true), ("both", "192.0.2.8", .pass, "example.net", false),
            ("both", "192.0.2.7", .fail, "example.net", false),
            ("author", "192.0.2.7", .pass, "example.net", true),
            ("other author", "192.0.2.7", .pass, "example.net", false),
            ("nothing", "192.0.2.7", .pass, "example.net", false),
        ])
    func exceptions(_ kind: String, _ client: String, _ result: DKIMResult, _ signer: String, _ holds: Bool) throws {
        let networks = [try Network("192.0.2.7/32")]
        let signers = [MatchPattern.domain(try DomainName("example.net"))]
        let exception =
            switch kind {
            case "client": LocalPolicySettings.Exception(clients: networks)
            case "dkim": LocalPolicySettings.Exception(dkimDomains: signers)
            case "both": LocalPolicySettings.Exception(clients: networks, dkimDomains: signers)
            case "author":
                LocalPolicySettings.Exception(clients: networks, authors: [.below(try DomainName("example.com"))])
            case "other author":
                LocalPolicySettings.Exception(clients: networks, authors: [.domain(try DomainName("example.com"))])
            default: LocalPolicySettings.Exception(authors: [.below(try DomainName("example.com"))])
            }
        let policy = Self.settings {
            $0.dmarc.onReject = .reject
            $0.spf.onFail = .reject
            $0.dmarc.exceptions = [exception]
        }
        let signature = DKIMFinding(result: result, reason: .none, domain: try DomainName(signer))
        let decision = policy.decision(
            on: try Self.message([Self.dmarc(.fail, .reject)], spf: .fail, dkim: [signature], client: client))
        #expect(decision.measure.action == (holds ? .accept : .reject))
        #expect(decision.override == (holds ? .trustedForwarder : nil))
    }

    @Test("a forwarder makes no author: what is no address stays none")
    func exceptionWithoutAuthor() throws {
        let policy = Self.settings {
            $0.dmarc.exceptions = [.init(clients: [Network(containing: .v4(0), prefixLength: 0)])]
        }
        #expect(policy.decision(on: try Self.message([Self.dmarc(.permerror)])).measure.action == .reject)
    }

    // MARK: SPF

    @Test(
        "what is done about SPF, and the code that says it (RFC 7372 §3.2)",
        arguments: [
            (SPFResult.fail, MailAction.reject, "550 5.7.23 SPF of example.org does not allow 192.0.2.7"),
            (.fail, .defer, "451 4.7.23 SPF of example.org does not allow 192.0.2.7"),
            (.softfail, .reject, "550 5.7.23 SPF of example.org"), (.softfail, .quarantine, nil),
            (.permerror, .reject, "550 5.7.24 SPF record of example.org is in error: more than 10 DNS look-ups"),
            (
                .temperror, .defer,
                "451 4.7.24 SPF record of example.org is not available at the moment; try again later"
            ),
            (.temperror, .quarantine, nil), (.pass, .accept, nil), (.neutral, .accept, nil), (.none, .accept, nil),
        ] as [(SPFResult, MailAction, String?)])
    func spf(_ result: SPFResult, _ action: MailAction, _ reply: String?) throws {
        let policy = Self.settings { settings in
            settings.spf.onFail = action
            settings.spf.onSoftfail = action
            settings.spf.onPermerror = action
            settings.spf.onTemperror = action
        }
        let measure = policy.decision(on: try Self.message([Self.dmarc(.none)], spf: result)).measure
        #expect(measure.action == action)
        #expect(measure.reply.map { "\($0)" }?.hasPrefix(reply ?? "-") ?? (reply == nil))
        #expect(measure.reply?.text.contains("192.0.2.53") != true, "nothing of our resolvers")
        if action != .accept { #expect(measure.check == "spf") }
    }

    @Test("an SPF pass of DMARC's does not excuse what the admin wants of SPF; the stricter one speaks")
    func both() throws {
        let policy = Self.settings {
            $0.spf.onFail = .defer
            $0.dmarc.onReject = .reject
        }
        #expect(policy.decision(on: try Self.message([Self.dmarc(.pass)], spf: .fail)).measure.check == "spf")
        let both = policy.decision(on: try Self.message([Self.dmarc(.fail, .reject)], spf: .fail)).measure
        #expect(both.check == "dmarc" && both.action == .reject)
    }

    @Test("words of a stranger are told as his, in one line of printable ASCII")
    func explanation() throws {
        let policy = Self.settings { $0.spf.onFail = .reject }
        let finding = try Self.spf(.fail, explanation: "no\r\n250 ok \u{FC}" + String(repeating: "x", count: 1000))
        let reply = policy.decision(
            on: JudgedMessage(client: nil, spf: [finding], dkim: [], dmarc: [try Self.dmarc(.none)])
        ).measure.reply
        let text = try #require(reply?.text)
        #expect(text.contains("this client") && text.contains("example.org explains: no??250 ok"))
        #expect(text.utf8.count <= Reply.maxTextOctets && text.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7F })
    }

    // MARK: Shadow

    @Test("a table in shadow tells what it would do, and lets the other act")
    func shadow() throws {
        let failing = try Self.message([Self.dmarc(.fail, .reject)], spf: .fail)
        let one = Self.settings {
            $0.spf.onFail = .quarantine
            $0.dmarc.onReject = .reject
            $0.dmarc.isShadow = true
        }.decision(on: failing)
        #expect(one.measure.action == .quarantine && one.measure.check == "spf")
        #expect(one.shadowed?.action == .reject && one.shadowed?.reply?.code == 550)
        let both = Self.settings {
            $0.spf.onFail = .quarantine
            $0.spf.isShadow = true
            $0.dmarc.isShadow = true
        }.decision(on: failing)
        #expect(both.measure.action == .accept && both.shadowed?.action == .quarantine)
        let none = Self.settings { $0.spf.isShadow = true }.decision(on: failing)
        #expect(none.measure.action == .quarantine && none.shadowed == nil, "nothing stricter was left undone")
    }

    @Test("replies name the domain and the reason, and nothing of ours")
    func replies() throws {
        let strict = Self.settings {
            $0.dmarc.onReject = .reject
            $0.dmarc.onTemperror = .defer
        }
        func reply(_ finding: DMARCFinding, _ policy: LocalPolicy) throws -> String? {
            policy.decision(on: try Self.message([finding])).measure.reply.map { "\($0)" }
        }
        #expect(
            try reply(Self.dmarc(.fail, .reject), strict)
                == "550 5.7.26 DMARC policy of mail.example.com (p=reject) forbids this message: nothing that passed is aligned"
        )
        #expect(
            try reply(Self.dmarc(.temperror), strict)
                == "451 4.4.3 DMARC of mail.example.com could not be checked: policy record not available; try again later"
        )
        #expect(
            try reply(Self.dmarc(.permerror), strict)
                == "550 5.7.1 Message cannot be authenticated: no From field")
        #expect(
            try reply(Self.dmarc(.none), Self.settings(Self.required))
                == "550 5.7.26 Mail from mail.example.com must be authenticated here: no policy record")
    }
}
