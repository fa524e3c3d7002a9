// How we sign: which fields, how they are listed, how the field is written, and which keys are chosen.

import PosternMail
import TestSupport
import Testing

@testable import PosternAuth

@Suite("signing")
struct SigningTests {
    /// The value of a tag of the first signature, without white space.
    private func tag(_ name: StaticString, of message: TestMessage) throws -> String? {
        let value = try #require(message.header.first).value
        let list = try DKIMTagList(value)
        return list[name].map { String(decoding: $0.filter { !$0.isFoldingWhiteSpace }, as: UTF8.self) }
    }

    private func signed(
        _ header: [HeaderField], settings: DKIMSigningSettings = DKIMSigningSettings(), now: UnixTime = testNow
    ) throws -> TestMessage {
        try sign(TestMessage(header), keys: [TestKeys.signing(.ed25519SHA256)], settings: settings, now: now)
    }

    @Test("h= lists what is there, and once more, RFC 6376 §5.4.1, §8.15")
    func oversigning() throws {
        let always =
            "From:To:Cc:Subject:Reply-To:In-Reply-To:References:MIME-Version:Content-Type:Content-Transfer-Encoding"
        let from = HeaderField("From", "a@example.com")
        #expect(try tag("h", of: signed([from])) == "From:" + always)
        let list = [HeaderField("LIST-ID", "x"), HeaderField("sender", "x"), HeaderField("Resent-From", "x")]
        #expect(
            try tag("h", of: signed([from, from] + list))
                == "From:From:" + always + ":Sender:Sender:List-Id:List-Id:Resent-From")
        #expect(try tag("h", of: signed([HeaderField("Received", "x")])) == always)
    }

    @Test("Date and Message-ID that a later server adds break nothing, RFC 6409 §8.2, §8.3; second ones do")
    func addedLater() throws {
        let from = HeaderField("From", "a@example.com")
        let added = [
            HeaderField("Date", "Fri, 15 Jan 2027 08:00:00 +0000"), HeaderField("Message-ID", "<1@example.net>"),
        ]
        let bare = try signed([from])
        for field in added {
            let message = TestMessage(bare.header + [field])
            #expect(try verify(message, dns: try TestKeys.zone()).map(\.result) == [.pass])
        }
        let whole = try signed([from] + added)
        for field in added {
            let message = TestMessage(whole.header + [field])
            #expect(try verify(message, dns: try TestKeys.zone()).map(\.result) == [.fail])
        }
    }

    @Test("fields of the admin's choice")
    func chosenFields() throws {
        let settings = DKIMSigningSettings(
            fields: [
                "Subject", "X-Ours", "subject", "Sender", "Received", "return-path", "DKIM-Signature", "a b", "", "x;y",
            ])
        let header = [HeaderField("From", "a@example.com"), HeaderField("Subject", "x"), HeaderField("Received", "x")]
        #expect(try tag("h", of: signed(header, settings: settings)) == "From:From:Subject:Subject:X-Ours")
    }

    @Test("a name that occurs too often is signed from the bottom up to a cap")
    func manyOfOneName() throws {
        let header = [HeaderField("From", "a@example.com")] + (0..<100).map { HeaderField("To", "\($0)@example.net") }
        let message = try signed(header, settings: DKIMSigningSettings(fields: ["To"]))
        let names = try #require(try tag("h", of: message)).split(separator: ":")
        #expect(names.filter { $0 == "To" }.count == DKIMSigning.maxOfOneName + 1)
        #expect(try verify(message, dns: try TestKeys.zone()).map(\.result) == [.pass])
    }

    @Test("tags: t= is now, x= only when wished, never l=, i= or q=")
    func tags() throws {
        let from = [HeaderField("From", "a@example.com")]
        let plain = try signed(from)
        #expect(try tag("v", of: plain) == "1")
        #expect(try tag("a", of: plain) == "ed25519-sha256")
        #expect(try tag("c", of: plain) == "relaxed/relaxed")
        #expect(try tag("d", of: plain) == "example.com")
        #expect(try tag("s", of: plain) == "ed")
        #expect(try tag("t", of: plain) == "1800000000")
        for name in ["x", "l", "i", "q", "z"] as [StaticString] { #expect(try tag(name, of: plain) == nil) }
        let rows: [(Duration, String?)] = [
            (.zero, nil), (.seconds(-5), nil), (.seconds(1), "1800000001"), (.seconds(86_400), "1800086400"),
            (.milliseconds(1), "1800000001"), (.seconds(1) * Int.max, "9223372036"),
        ]
        for (expire, x) in rows {
            let message = try signed(from, settings: DKIMSigningSettings(expire: expire))
            #expect(try tag("x", of: message) == x, "\(expire)")
            #expect(try verify(message, dns: try TestKeys.zone()).map(\.result) == [.pass])
        }
        #expect(try tag("t", of: signed(from, now: UnixTime(seconds: -5))) == "0")
    }

    @Test("folded below 78 columns by CRLF HTAB, RFC 5322 §2.1.1")
    func folding() throws {
        let domain = try DomainName(String(repeating: "long-label.", count: 12) + "example.com")
        let keys = [
            DKIMSigningKey(
                domain: domain, selector: try DomainName("a.rather.long.selector.2026q4"),
                privateKey: try TestKeys.rsa2048.get()),
            try TestKeys.signing(.rsaSHA256), try TestKeys.signing(.ed25519SHA256),
        ]
        let header = TestMessage.plain.header + (0..<30).map { HeaderField("Reply-To", "\($0)@example.com") }
        let message = try sign(
            TestMessage(header), keys: keys, settings: DKIMSigningSettings(expire: .seconds(86_400)))
        for field in message.header.prefix(3) {
            #expect(field.isNamed("DKIM-Signature"))
            #expect(field.value.first == 0x20)
            let text = "DKIM-Signature:" + String(decoding: field.value, as: UTF8.self)
            let lines = text.split(separator: "\r\n", omittingEmptySubsequences: false)
            for line in lines {
                let columns = line.hasPrefix("\t") ? line.utf8.count + 7 : line.utf8.count
                #expect(columns < 78 || line.contains("d=long-label"), "\(line)")
                #expect(line.trimmingPrefix("\t").utf8.count >= 4 && line.utf8.last != 0x20, "\(line)")
                #expect(line.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7F || $0 == 0x09 }, "\(line)")
            }
            #expect(lines.dropFirst().allSatisfy { $0.hasPrefix("\t") })
        }
    }

    @Test("no keys, no signatures and no interest in the body")
    func noKeys() throws {
        let signing = DKIMSigning(header: TestMessage.plain.header, keys: [], settings: .init(), now: testNow)
        #expect(!signing.wantsBody)
        #expect(try signing.finish().isEmpty)
        let wanting = DKIMSigning(
            header: [], keys: [try TestKeys.signing(.ed25519SHA256)], settings: .init(), now: testNow)
        #expect(wanting.wantsBody)
        _ = try wanting.finish()
        #expect(!wanting.wantsBody)
    }
}

@Suite("choice of keys")
struct KeySelectionTests {
    private func key(_ domain: String, from: [String] = [], users: [String] = []) throws -> DKIMSigningKey {
        DKIMSigningKey(
            domain: try DomainName(domain), selector: try DomainName("s"), privateKey: try TestKeys.ed25519.get(),
            from: from, users: users)
    }

    private func select(
        _ author: String, mailFrom: String? = nil, login: String? = nil, rule: AuthorRule = .any,
        from keys: [DKIMSigningKey]
    ) throws -> [String] {
        let at = try #require(author.lastIndex(of: "@"))
        let choice = selectKeys(
            localPart: Array(author[..<at].utf8), domain: try DomainName(String(author[author.index(after: at)...])),
            mailFrom: try mailFrom.map { try DomainName($0) }, login: login.map { Array($0.utf8) }, rule: rule,
            from: keys)
        switch choice {
        case .keys(let keys):
            #expect(!keys.isEmpty)
            return keys.map(\.domain.description)
        case .none(let reason):
            #expect(!reason.isEmpty)
            return []
        }
    }

    @Test("the longest domain at or above the author's, with all of its keys")
    func nearest() throws {
        let keys = try [key("example.com"), key("mail.example.com"), key("mail.example.com"), key("example.net")]
        #expect(try select("a@example.com", from: keys) == ["example.com"])
        #expect(try select("a@sub.example.com", from: keys) == ["example.com"])
        #expect(try select("a@mail.example.com", from: keys) == ["mail.example.com", "mail.example.com"])
        #expect(try select("a@x.mail.example.com", from: keys) == ["mail.example.com", "mail.example.com"])
        #expect(try select("a@badexample.com", from: keys) == [])
        #expect(try select("a@com", from: keys) == [])
        #expect(try select("a@example.com", from: []) == [])
    }

    @Test("patterns take the place of the domain")
    func patterns() throws {
        let rows: [([String], String, Bool)] = [
            (["*@example.com"], "ann@example.com", true),
            (["*@example.com"], "ann@sub.example.com", false),
            (["@example.com"], "ann@example.com", true),
            (["*@*.example.com"], "ann@sub.example.com", true),
            (["*@*.example.com"], "ann@a.sub.example.com", true),
            (["*@*.example.com"], "ann@example.com", false),
            (["ann@example.com"], "Ann@EXAMPLE.com", true),
            (["ann@example.com"], "bo@example.com", false),
            (["bo@example.com", "ann@example.com"], "ann@example.com", true),
            (["*@example.org"], "ann@example.org", true),  // the admin signs for another domain
            (["*@example.org"], "ann@example.com", false),
            (["example.com"], "ann@example.com", false),  // no pattern, matches nobody
            (["\"a@b\"@example.com"], "\"a@b\"@example.com", true),
        ]
        for (from, author, fits) in rows {
            #expect(try select(author, from: [key("example.com", from: from)]).isEmpty == !fits, "\(from) \(author)")
        }
        // A key of the author's own domain wins over one that only names it.
        let both = try [key("esp.example", from: ["*@example.com"]), key("example.com")]
        #expect(try select("a@example.com", from: both) == ["example.com"])
        for bad in ["example.com", "a@", "a@*", "a@*.", "a@b c", "a@.com", "a@*x.com"] {
            #expect(throws: AuthorPatternError.self, "\(bad)") { try AuthorPattern(bad) }
        }
    }

    @Test("author = envelope: the envelope sender's domain is the author's")
    func envelope() throws {
        let keys = try [key("example.com")]
        #expect(try select("a@example.com", mailFrom: "example.com", rule: .envelope, from: keys) == ["example.com"])
        #expect(try select("a@example.com", mailFrom: "sub.example.com", rule: .envelope, from: keys) == [])
        #expect(try select("a@example.com", mailFrom: "example.net", rule: .envelope, from: keys) == [])
        #expect(try select("a@example.com", mailFrom: nil, rule: .envelope, from: keys) == [])
    }

    @Test("author = login: only a key that names the login")
    func login() throws {
        let keys = try [key("example.com", users: ["ann", "bo"]), key("mail.example.com", users: ["bo"])]
        #expect(try select("a@example.com", login: "ann", rule: .login, from: keys) == ["example.com"])
        #expect(try select("a@mail.example.com", login: "bo", rule: .login, from: keys) == ["mail.example.com"])
        #expect(try select("a@mail.example.com", login: "ann", rule: .login, from: keys) == ["example.com"])
        #expect(try select("a@example.com", login: "Ann", rule: .login, from: keys) == [])
        #expect(try select("a@example.com", login: "", rule: .login, from: keys) == [])
        #expect(try select("a@example.com", login: nil, rule: .login, from: keys) == [])
        #expect(try select("a@example.com", login: "ann", rule: .login, from: [key("example.com")]) == [])
    }
}
