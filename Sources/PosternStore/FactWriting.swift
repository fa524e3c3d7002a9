// Writes facts into their tables, within a transaction of the caller. Texts are cut to `FactOctets.maxText`.

import PosternMail

extension Database {
    func insert(_ facts: MessageFacts) throws(DatabaseError) {
        let dmarc = facts.dmarc
        let reason = dmarc.reason.words
        var policy: Value = .null
        if let published = dmarc.published { policy = .integer(try policyID(published, at: dmarc.policyDomain)) }
        try run(
            """
            INSERT INTO fact (time, queue_id, client, policy, author, organizational, policy_domain, result, reason,
                reason_name, reason_text, governing, tag, applied, aligned_spf, aligned_dkim, discovery, disposition,
                override)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)
            """,
            [
                .integer(facts.time.nanoseconds), .cut(facts.queueID), .octets(facts.client.octets), policy,
                .name(dmarc.authorDomain), .name(dmarc.organizationalDomain), .name(dmarc.policyDomain),
                .text(dmarc.result.rawValue), .text(reason.word), .name(reason.name), .cut(reason.text),
                .optional(dmarc.policy?.rawValue), .optional(dmarc.policyTag?.rawValue), .text(dmarc.applied.rawValue),
                .name(dmarc.alignedSPF), .octets(FactOctets.names(dmarc.alignedDKIM)),
                .text(facts.discovery.rawValue), .text(facts.disposition.rawValue),
                .optional(facts.override?.rawValue),
            ])
        let fact = lastRowID
        var position = 0
        for finding in facts.spf.prefix(FactOctets.maxElements) {
            try insert(finding, fact, position)
            position += 1
        }
        position = 0
        for finding in facts.dkim.prefix(FactOctets.maxElements) {
            try insert(finding, fact, position)
            position += 1
        }
    }

    private func policyID(
        _ policy: DMARCPublishedPolicy, at domain: DomainName?
    ) throws(DatabaseError) -> Int64 {
        let values: [Value] = [
            .octets(domain?.wire ?? []), .text(policy.policy.rawValue), .optional(policy.subdomainPolicy?.rawValue),
            .optional(policy.nonexistentPolicy?.rawValue), .text(policy.dkimAlignment.rawValue),
            .text(policy.spfAlignment.rawValue), .text(policy.publicSuffix.rawValue), .flag(policy.isTesting),
            .cut(policy.aggregateReports), .cut(policy.failureReports), .cut(policy.failureOptions),
        ]
        let key = Value.octets(values.flatMap(\.keyOctets))
        if let known = try integer("SELECT id FROM policy WHERE key = ?1", [key]) { return known }
        try run(
            """
            INSERT INTO policy (domain, p, sp, np, adkim, aspf, psd, t, rua, ruf, fo, key)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
            """, values + [key])
        return lastRowID
    }

    private func insert(_ finding: SPFFinding, _ fact: Int64, _ position: Int) throws(DatabaseError) {
        let identity: [Value]
        switch finding.identity {
        case .helo(let helo):
            identity = [
                .text("helo"), .name(helo.domain), .octets(Array(helo.text.prefix(FactOctets.maxText))), .null, .null,
                .null, .null,
            ]
        case .mailFrom(let mailFrom):
            let problem = mailFrom.problem?.words
            identity = [
                .text("mfrom"), .name(mailFrom.domain), .octets(mailFrom.localPart), .flag(mailFrom.isNullReversePath),
                .optional(problem?.word), .name(problem?.name), .cut(problem?.text),
            ]
        }
        let reason = finding.reason.words
        try run(
            """
            INSERT INTO spf (fact, position, scope, domain, local, is_null, problem, problem_name, problem_text, result,
                reason, reason_name, reason_text, mechanism, chain, lookups, void_lookups, explanation)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)
            """,
            [.integer(fact), .integer(position)] + identity + [
                .text(finding.result.rawValue), .text(reason.word), .name(reason.name), .cut(reason.text),
                .cut(finding.mechanism), .octets(FactOctets.steps(finding.chain)), .integer(finding.lookups),
                .integer(finding.voidLookups), .cut(finding.explanation),
            ])
    }

    private func insert(_ finding: DKIMFinding, _ fact: Int64, _ position: Int) throws(DatabaseError) {
        let reason = finding.reason.words
        try run(
            """
            INSERT INTO dkim (fact, position, domain, selector, result, reason, reason_number, reason_text, auid,
                algorithm, key_bits, signature, is_testing)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
            """,
            [
                .integer(fact), .integer(position), .name(finding.domain), .name(finding.selector),
                .text(finding.result.rawValue), .text(reason.word), .optional(reason.number), .cut(reason.text),
                .optional(finding.auid.map { Array($0.prefix(FactOctets.maxText)) }),
                .optional(finding.algorithm?.rawValue), .optional(finding.keyBits), .cut(finding.signaturePrefix),
                .flag(finding.isTesting),
            ])
    }
}

extension Database.Value {
    /// In wire form.
    fileprivate static func name(_ name: DomainName?) -> Database.Value { .optional(name?.wire) }

    fileprivate static func cut(_ text: String?) -> Database.Value {
        FactOctets.cut(text).map { .text($0) } ?? .null
    }

    /// One value, so that no two lists of values are the same octets.
    fileprivate var keyOctets: [UInt8] {
        let octets: [UInt8]
        switch self {
        case .null: return [0]
        case .integer(let number): octets = Array(String(number).utf8)
        case .text(let text): octets = Array(text.utf8)
        case .octets(let value): octets = value
        }
        return [1, UInt8(truncatingIfNeeded: octets.count >> 8), UInt8(truncatingIfNeeded: octets.count)] + octets
    }
}
