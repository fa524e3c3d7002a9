// Reads facts back, a page at a time, for the CLI and for reports (RFC 9990). A row that a damaged file has made
// unreadable is passed over and counted: what is left is still worth a report.

public import PosternMail

/// Where a page ends.
public struct FactCursor: Hashable, Sendable {
    let time: Int64
    let id: Int64
}

/// A part of what is kept, oldest first.
public struct FactPage: Sendable {
    public let facts: [MessageFacts]
    /// For the next page; nil at the end.
    public let next: FactCursor?
    /// Rows that could not be read.
    public let unreadable: Int
}

extension Database {
    func facts(
        since: UnixTime, before: UnixTime, after: FactCursor?, limit: Int
    ) throws(DatabaseError) -> FactPage {
        let start = after ?? FactCursor(time: since.nanoseconds, id: .min)
        var facts: [MessageFacts] = []
        var unreadable = 0
        var rows = 0
        var last = start
        try run(
            """
            SELECT f.id, f.time, f.queue_id, f.client, f.author, f.organizational, f.policy_domain, f.result, f.reason,
                f.reason_name, f.reason_text, f.governing, f.tag, f.applied, f.aligned_spf, f.aligned_dkim, f.discovery,
                f.disposition, f.override, p.id, p.p, p.sp, p.np, p.adkim, p.aspf, p.psd, p.t, p.rua, p.ruf, p.fo
            FROM fact f LEFT JOIN policy p ON p.id = f.policy
            WHERE (f.time, f.id) > (?1, ?2) AND f.time < ?3 ORDER BY f.time, f.id LIMIT ?4
            """, [.integer(start.time), .integer(start.id), .integer(before.nanoseconds), .integer(limit)]
        ) { row throws(DatabaseError) in
            rows += 1
            last = FactCursor(time: row.integer(1), id: row.integer(0))
            guard let fact = try self.fact(from: row) else {
                unreadable += 1
                return
            }
            facts.append(fact)
        }
        return FactPage(facts: facts, next: rows == limit ? last : nil, unreadable: unreadable)
    }

    private func fact(from row: Row) throws(DatabaseError) -> MessageFacts? {
        let reasonWords = ReasonWords(
            row.text(8), name: FactOctets.name(from: row.optionalOctets(9)), text: row.optionalText(10))
        guard let client = IPAddress(octets: row.octets(3)), let result = DMARCResult(rawValue: row.text(7)),
            let reason = DMARCReason(reasonWords), let applied = DMARCPolicy(rawValue: row.text(13)),
            let alignedDKIM = FactOctets.names(from: row.octets(15)),
            let discovery = DMARCDiscovery(rawValue: row.text(16)),
            let disposition = DMARCDisposition(rawValue: row.text(17)), let spf = try spfFindings(row.integer(0)),
            let dkim = try dkimFindings(row.integer(0))
        else { return nil }
        let finding = DMARCFinding(
            result: result, reason: reason, authorDomain: FactOctets.name(from: row.optionalOctets(4)),
            organizationalDomain: FactOctets.name(from: row.optionalOctets(5)),
            policyDomain: FactOctets.name(from: row.optionalOctets(6)), published: policy(from: row),
            policy: row.optionalText(11).flatMap(DMARCPolicy.init),
            policyTag: row.optionalText(12).flatMap(DMARCPolicyTag.init), applied: applied,
            alignedSPF: FactOctets.name(from: row.optionalOctets(14)), alignedDKIM: alignedDKIM)
        return MessageFacts(
            time: UnixTime(nanoseconds: row.integer(1)), queueID: row.optionalText(2), client: client, dmarc: finding,
            discovery: discovery, spf: spf, dkim: dkim, disposition: disposition,
            override: row.optionalText(18).flatMap(DMARCOverride.init))
    }

    private func policy(from row: Row) -> DMARCPublishedPolicy? {
        guard !row.isNull(19), let policy = DMARCPolicy(rawValue: row.text(20)),
            let dkimAlignment = DMARCAlignment(rawValue: row.text(23)),
            let spfAlignment = DMARCAlignment(rawValue: row.text(24)),
            let publicSuffix = DMARCPublicSuffix(rawValue: row.text(25))
        else { return nil }
        return DMARCPublishedPolicy(
            policy: policy, subdomainPolicy: row.optionalText(21).flatMap(DMARCPolicy.init),
            nonexistentPolicy: row.optionalText(22).flatMap(DMARCPolicy.init), dkimAlignment: dkimAlignment,
            spfAlignment: spfAlignment, publicSuffix: publicSuffix, isTesting: row.integer(26) != 0,
            aggregateReports: row.optionalText(27), failureReports: row.optionalText(28),
            failureOptions: row.optionalText(29))
    }

    private func spfFindings(_ fact: Int64) throws(DatabaseError) -> [SPFFinding]? {
        var findings: [SPFFinding] = []
        var isReadable = true
        try run(
            """
            SELECT scope, domain, local, is_null, problem, problem_name, problem_text, result, reason, reason_name,
                reason_text, mechanism, chain, lookups, void_lookups, explanation
            FROM spf WHERE fact = ?1 ORDER BY position LIMIT 64
            """, [.integer(fact)]
        ) { row in
            let reasonWords = ReasonWords(
                row.text(8), name: FactOctets.name(from: row.optionalOctets(9)), text: row.optionalText(10))
            guard let result = SPFResult(rawValue: row.text(7)), let reason = SPFReason(reasonWords),
                let chain = FactOctets.steps(from: row.octets(12)), let lookups = Int(exactly: row.integer(13)),
                let voidLookups = Int(exactly: row.integer(14))
            else {
                isReadable = false
                return
            }
            let identity: SPFFinding.Identity
            switch row.text(0) {
            case "helo": identity = .helo(HELOIdentity(row.octets(2)))
            case "mfrom":
                let problem = row.optionalText(4).flatMap {
                    SPFReason(
                        ReasonWords($0, name: FactOctets.name(from: row.optionalOctets(5)), text: row.optionalText(6)))
                }
                identity = .mailFrom(
                    MailFromIdentity(
                        localPart: row.octets(2), domain: FactOctets.name(from: row.optionalOctets(1)),
                        problem: problem, isNullReversePath: row.integer(3) != 0))
            default:
                isReadable = false
                return
            }
            findings.append(
                SPFFinding(
                    result: result, reason: reason, identity: identity, mechanism: row.optionalText(11), chain: chain,
                    lookups: lookups, voidLookups: voidLookups, explanation: row.optionalText(15)))
        }
        return isReadable ? findings : nil
    }

    private func dkimFindings(_ fact: Int64) throws(DatabaseError) -> [DKIMFinding]? {
        var findings: [DKIMFinding] = []
        var isReadable = true
        try run(
            """
            SELECT domain, selector, result, reason, reason_number, reason_text, auid, algorithm, key_bits, signature,
                is_testing
            FROM dkim WHERE fact = ?1 ORDER BY position LIMIT 64
            """, [.integer(fact)]
        ) { row in
            let reasonWords = ReasonWords(
                row.text(3), number: row.optionalInteger(4).flatMap { Int(exactly: $0) }, text: row.optionalText(5))
            guard let result = DKIMResult(rawValue: row.text(2)), let reason = DKIMReason(reasonWords) else {
                isReadable = false
                return
            }
            findings.append(
                DKIMFinding(
                    result: result, reason: reason, domain: FactOctets.name(from: row.optionalOctets(0)),
                    selector: FactOctets.name(from: row.optionalOctets(1)), auid: row.optionalOctets(6),
                    algorithm: row.optionalText(7).flatMap(DKIMAlgorithm.init),
                    keyBits: row.optionalInteger(8).flatMap { Int(exactly: $0) }, signaturePrefix: row.text(9),
                    isTesting: row.integer(10) != 0))
        }
        return isReadable ? findings : nil
    }
}
