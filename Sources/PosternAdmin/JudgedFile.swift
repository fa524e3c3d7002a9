// One message from a file, judged as postern-dmarc judges one that comes in: the same judges in the same order, and the
// same step from findings to what is done. Each judge has DNS with a budget of its own, as nobody waits here.

internal import PosternAuth
internal import PosternDNS
internal import PosternDaemon
internal import PosternMail

struct JudgedFile {
    let mailFrom: SPFFinding
    let helo: SPFFinding
    let message: JudgedMessage
    let decision: LocalDecision
    /// What DMARC alone leads to.
    private let ofDMARC: MailAction
    /// Set where the message is refused unjudged.
    private let refusal: Reply?
    let results: AuthenticationResults

    /// - Parameter dns: a view of the well whose budget begins at the call.
    init(
        _ file: MessageFile, _ transaction: JudgedTransaction, _ configuration: Configuration, now: UnixTime,
        dns: () -> any DNSAnswering
    ) throws(CommandFailure) {
        let host = configuration.host
        let judge = DMARCJudge(discovery: try DMARCDiscoveryMethod(configuration.dmarc.discovery))
        let policies = judge.policies(for: file.author, dns: dns())  // first: nothing else may starve it
        let (sender, name) = (Array(transaction.sender.utf8), Array(transaction.helo.utf8))
        let client = transaction.client.unmapped
        mailFrom = SPFJudge.checkMailFrom(
            sender, client: client, helo: name, receiver: host.name, dns: dns(), now: now)
        helo = SPFJudge.checkHELO(name, client: client, receiver: host.name, dns: dns(), now: now)
        let dkim = file.findings(settings: configuration.dkim.verification, dns: dns(), now: now)
        let dmarc = judge.findings(policies, spf: DMARCIdentifier(mailFrom), dkim: dkim, dns: dns())

        let identities = configuration.spf.identities
        let message = JudgedMessage(
            client: client, spf: [mailFrom] + (identities.contains(.helo) ? [helo] : []), dkim: dkim, dmarc: dmarc,
            hasListID: file.hasListID)
        var settings = LocalPolicySettings(configuration)
        self.message = message
        decision = LocalPolicy(settings).decision(on: message)
        settings.spf = LocalPolicySettings.SPF()
        ofDMARC = LocalPolicy(settings).decision(on: message).measure.action
        refusal = file.isRefused(AuthservIDs(host.stripAuthservIDs)) ? ForgedResults.refusal : nil
        let byIdentity = [SPFIdentity.mailFrom: mailFrom, .helo: helo]
        results = AuthenticationResults(
            authservID: host.authservID, spf: identities.compactMap { byIdentity[$0] }, dkim: dkim,
            dmarc: message.governing)
    }

    var action: MailAction { refusal == nil ? decision.measure.action : .reject }

    // MARK: Text

    /// Each line with its line end; the field as it would be written.
    var lines: String {
        var lines = [mailFrom, helo].map(\.logText)
        lines += message.dkim.isEmpty ? ["dkim=none"] : message.dkim.map(\.logText)
        lines += message.dmarc.map(\.logText)
        lines.append("verdict: \(verdict)")
        if let shadowed = decision.shadowed { lines.append("without shadow: \(Self.text(of: shadowed))") }
        if let override = decision.override { lines.append("override in reports: \(override.rawValue)") }
        let field = MessageFile.text(of: results.field()).filter { $0 != 0x0D }
        lines.append(String(decoding: field, as: UTF8.self))
        return lines.map { $0 + "\n" }.joined()
    }

    private var verdict: String { refusal.map { "reject: \($0)" } ?? Self.text(of: decision.measure) }

    /// `reject: 550 5.7.26 …`, `quarantine (dmarc example.com)`, `accept`.
    private static func text(of measure: LocalDecision.Measure) -> String {
        let word = measure.action.rawValue
        if let reply = measure.reply { return "\(word): \(reply)" }
        guard measure.action != .accept else { return word }
        return "\(word) (\(measure.check)\(measure.domain.map { " \($0)" } ?? ""))"
    }

    /// Every member is always there.
    var json: JSONValue {
        let dmarc = message.governing
        // Nobody knows what governs a domain that may not exist, where that matters.
        let isDoubtful = if case .existenceUnknown = dmarc.reason { true } else { false }
        return [
            "spf": ["mailfrom": Self.json(mailFrom), "helo": Self.json(helo)],
            "dkim": .list(message.dkim.map(FindingText.json)),
            "dmarc": [
                "result": .text(dmarc.result.rawValue), "domain": .optional(dmarc.authorDomain),
                "organizational_domain": .optional(dmarc.organizationalDomain),
                "policy_domain": .optional(dmarc.policyDomain),
                "policy": .optional(isDoubtful ? nil : dmarc.policy?.rawValue),
                "applied": .text(applied.rawValue), "testing": dmarc.published.map { .boolean($0.isTesting) } ?? .null,
                "aligned_spf": .boolean(dmarc.alignedSPF != nil),
                "aligned_dkim": .boolean(!dmarc.alignedDKIM.isEmpty), "reason": .text("\(dmarc.reason)"),
            ],
            "verdict": .text((action == .hold ? .quarantine : action).rawValue),
            "header": .text(unfoldedField),
        ]
    }

    private static func json(_ finding: SPFFinding) -> JSONValue {
        [
            "result": .text(finding.result.rawValue), "domain": .optional(finding.domain),
            "reason": .text("\(finding.reason)"),
        ]
    }

    /// What is left of the policy: hold is a kind of quarantine, and a deferral applies none.
    private var applied: DMARCPolicy {
        switch ofDMARC {
        case .accept, .defer: .none
        case .quarantine, .hold: .quarantine
        case .reject: .reject
        }
    }

    /// Source: RFC 5322 §2.2.3.
    private var unfoldedField: String {
        let field = MessageFile.text(of: results.field()).filter { $0 != 0x0D && $0 != 0x0A }
        return String(decoding: field.map { $0 == 0x09 ? 0x20 : $0 }, as: UTF8.self)
    }
}

extension MessageFile {
    /// Source: RFC 2919 §3.
    var hasListID: Bool { header.fields.contains { $0.isNamed("List-Id") } }

    /// Whether it carries more fields that only we may write than are removed (DESIGN §2).
    func isRefused(_ ids: AuthservIDs) -> Bool {
        var results = ForgedResultsCollector(ids: ids)
        var marks = DispositionMarkCollector()
        for field in MessageText(octets: octets).header {
            results.add(field)
            marks.add(field)
        }
        return results.forged.count + marks.count > ForgedResults.maxRemovals
    }
}

extension DMARCDiscoveryMethod {
    /// By the words of the configuration; the public suffix list is read where it is Debian's.
    init(_ discovery: PosternMail.DMARCDiscovery) throws(CommandFailure) {
        switch discovery {
        case .treewalk: self = .treeWalk
        case .psl:
            do throws(PublicSuffixFileError) { self = .publicSuffixList(try PublicSuffixFile.load()) } catch {
                throw CommandFailure(.unavailable, "\(error); is the package publicsuffix installed?")
            }
        }
    }
}
