// The limits of a check (RFC 7208 §4.6.4, §11.1), and records that are made to break them.

import PosternDNS
import PosternMail
import TestSupport
import Testing

@testable import PosternAuth

@Suite("SPF limits")
struct SPFLimitTests {
    private func questions(_ dns: FunctionDNS) -> Int { dns.batches.reduce(0) { $0 + $1.count } }

    @Test("ten terms over the whole check, and the eleventh is not asked, RFC 7208 §4.6.4")
    func lookups() throws {
        let terms = ["a:%{d}", "mx:x%{d}", "ptr:%{d}", "include:no.example.net"]
        for term in terms {
            func dns(_ count: Int) -> FunctionDNS {
                let record = "v=spf1 " + String(repeating: "\(term) ", count: count) + "+all"
                return FunctionDNS { question in
                    switch question.type {
                    case .txt where question.name.description == "no.example.net": .txt("v=spf1 -all")
                    case .txt: .txt(record)
                    case .mx: .records([.mx(preference: 1, exchange: .root)], ttl: 1)
                    case .ptr: .records([.ptr(.root)], ttl: 1)
                    default: .records([.a(.v4(1))], ttl: 1)
                    }
                }
            }
            #expect(try judgeSPF(dns: dns(10)).result == .pass, "\(term)")
            let over = dns(11)
            let finding = try judgeSPF(dns: over)
            #expect(finding.result == .permerror && finding.reason == .tooManyLookups, "\(term)")
            #expect(finding.lookups == 10 && questions(over) <= 11, "\(term)")
        }
    }

    @Test("two void look-ups, a term counting once, RFC 7208 §4.6.4")
    func voidLookups() throws {
        let rows: [(String, SPFResult, Int)] = [
            ("a:x.example a:y.example ?all", .neutral, 2), ("a:x.example a:y.example a:z.example ?all", .permerror, 3),
            ("a:nodata.example exists:x.example mx:y.example ?all", .permerror, 3),
            ("mx:mx.example a:x.example ?all", .neutral, 2),  // both hosts have nothing: one term
            ("ptr a:x.example ptr ?all", .neutral, 2),  // the client's names are asked once
            ("include:y.example ?all", .permerror, 0),  // §5.2
            ("a:x.example a:y.example exists:\(String(repeating: "a", count: 64)).example ?all", .neutral, 2),
        ]
        for (terms, result, count) in rows {
            let dns = FunctionDNS([
                "example.com TXT": .txt("v=spf1 \(terms)"), "nodata.example A": .noData,
                "mx.example MX": try .mx("m1.example", "m2.example"),
            ])
            let finding = try judgeSPF(dns: dns)
            #expect(finding.result == result && finding.voidLookups == count, "\(terms): \(finding)")
        }
    }

    @Test("an MX of 500 hosts is permerror and none is asked; of ten all, RFC 7208 §4.6.4")
    func mxHosts() throws {
        for (count, result) in [(10, SPFResult.pass), (11, .permerror), (500, .permerror)] {
            let names = try (0..<count).map { try DomainName("m\($0).example.com") }
            let dns = FunctionDNS { question in
                switch question.type {
                case .txt: .txt("v=spf1 mx -all")
                case .mx: .records(names.map { .mx(preference: 1, exchange: $0) }, ttl: 1)
                default: question.name.description == "m9.example.com" ? .a("192.0.2.3") : .noSuchName
                }
            }
            #expect(try judgeSPF(dns: dns).result == result)
            #expect(dns.batches.map(\.count) == (result == .pass ? [1, 1, 10] : [1, 1]))
        }
    }

    @Test("of 500 names of a client ten are asked, RFC 7208 §4.6.4")
    func ptrNames() throws {
        let names = try (0..<500).map { try DomainName("p\($0).example.com") }
        for (good, result) in [("p9.example.com", SPFResult.pass), ("p10.example.com", .fail)] {
            let dns = FunctionDNS { question in
                switch question.type {
                case .txt: .txt("v=spf1 ptr -all")
                case .ptr: .records(names.map { .ptr($0) }, ttl: 1)
                default: question.name.description == good ? .a("192.0.2.3") : .noSuchName
                }
            }
            #expect(try judgeSPF(dns: dns).result == result)
            #expect(dns.batches.map(\.count) == [1, 1, 10])
        }
    }

    @Test("loops, chains, and a record that wants 1,000 look-ups end at ten")
    func loops() throws {
        for record in [
            "v=spf1 include:%{d} -all", "v=spf1 redirect=%{d}", "v=spf1 include:a.%{d} -all", "v=spf1 redirect=a.%{d}",
            "v=spf1 include:%{d} include:%{d} redirect=%{d}", "v=spf1" + String(repeating: " a:x.%{d}", count: 1000),
            "v=spf1" + String(repeating: " exists:%{ir}.x.%{d}", count: 700),
        ] {
            let dns = FunctionDNS { $0.type == .txt ? .txt(record) : .a("198.51.100.1") }
            let finding = try judgeSPF(dns: dns)
            let isMatch = record.contains("exists")
            #expect(finding.result == (isMatch ? .pass : .permerror), "\(record.prefix(40))")
            #expect(finding.lookups <= 10 && questions(dns) <= 11 && finding.chain.count <= 11)
        }
    }

    @Test("64 KiB of TXT, 10,000 terms, thousands of records")
    func large() throws {
        let answers: [(Answer, SPFResult)] = [
            (.txt("v=spf1 +all" + String(repeating: " ", count: 65_000)), .permerror),
            (.txt("v=spf1" + String(repeating: " all", count: 10_000)), .permerror),
            (.txt(String(repeating: "x", count: 65_000)), .none),
            (.records(Array(repeating: .txt(Array("v=spf1".utf8)), count: 5_000), ttl: 1), .permerror),
            (.records(Array(repeating: .txt([]), count: 5_000) + [.txt(Array("v=spf1 +all".utf8))], ttl: 1), .pass),
            (.txt("v=spf1" + String(repeating: " ip4:192.0.2.9", count: 1_000) + " -all"), .fail),
        ]
        for (answer, result) in answers {
            #expect(try judgeSPF(dns: FunctionDNS { _ in answer }).result == result)
        }
    }

    @Test("macros that would expand to megabytes are cut, RFC 7208 §7.3")
    func expansions() throws {
        let local = String(repeating: "a.", count: 32_000) + "b"
        let macros = String(repeating: "%{s}", count: SPFMacroString.maxMacros)
        let dns = FunctionDNS([
            "example.com TXT": .txt("v=spf1 a:\(macros).x.example -all exp=e.example.com"),
            "e.example.com TXT": .txt(macros),
        ])
        let finding = try judgeSPF("\(local)@example.com", dns: dns)
        #expect(finding.result == .fail)
        #expect(finding.explanation?.utf8.count == SPFEvaluation<FunctionDNS>.maxExplanationOctets)
        // Labels go from the left until at most 253 octets are left.
        let asked = try #require(dns.batches.dropFirst().first?.first)
        #expect(asked.hasSuffix(".x.example A") && (240...255).contains(asked.utf8.count - 2), "\(asked)")
    }

    @Test("names that cannot be asked do not exist, and are no trouble of DNS")
    func unaskable() throws {
        for spec in [
            "a:\(String(repeating: "x", count: 64)).example.com", "mx:a..example.com", "exists:%{l}.example.com",
            "ptr:x..example.com", "a:%{h}",
        ] {
            let dns = FunctionDNS(["example.com TXT": .txt("v=spf1 \(spec) -all")])
            let sender = String(repeating: "y", count: 70) + "@example.com"
            let finding = try judgeSPF(sender, helo: "\u{E4}\u{FF}..", dns: dns)
            #expect(finding.result == .fail && finding.voidLookups == 0, "\(spec): \(finding)")
            #expect(!dns.batches.contains { $0.contains { $0.hasSuffix(" A") || $0.hasSuffix(" MX") } }, "\(spec)")
        }
    }

    @Test("damaged records, senders and HELO names never trap, and stay inside the limits")
    func mutations() throws {
        let records = [
            "v=spf1 a mx/24 ptr:%{d2} include:%{ir}.%{v}.x.example exists:%{l1r-}.%{s}.y.example redirect=%{o}",
            "v=spf1 -exists:%{p}.%{h}.z.example a:%{D}//64 exp=%{d} ~all",
            "v=spf1 include:%{d} ?include:x.example +all",
        ]
        let tokens = [
            "%{s}", "%{p}", "%{h", "}", "a.", "..", "@", " ", "v=spf1 ", "include:", "redirect=%{d}", "exp=%{h}",
        ]
        var random = SeededRandom(seed: 464)
        Mutations.of(
            records.map { Array($0.utf8) }, tokens: tokens.map { Array($0.utf8) }, count: 3_000, seed: 46
        ) { text in
            let choice = UInt64.random(in: 0...(.max), using: &random)
            let dns = FunctionDNS { question in
                let roll = (choice &+ UInt64(question.name.wire.count)) % 7
                return switch question.type {
                case .txt: roll == 6 ? .noData : .records([.txt(text)], ttl: 1)
                case .mx: roll < 4 ? .records([.mx(preference: 1, exchange: question.name)], ttl: 1) : .noSuchName
                case .ptr: roll < 5 ? .records([.ptr(question.name)], ttl: 1) : .temporaryFailure("x")
                case .a: roll < 3 ? .a("192.0.2.3") : roll < 6 ? .a("198.51.100.1") : .noData
                default: .aaaa("2001:db8::3")
                }
            }
            let sender = text.shuffled(using: &random).prefix(40) + Array("@x.example".utf8)
            let finding = SPFJudge.checkMailFrom(
                Array(sender), client: choice % 2 == 0 ? .v4(0xC000_0203) : .v6(0x2001_0DB8_0000_0000, 3),
                helo: Array(text.prefix(30)), receiver: nil, dns: dns, now: UnixTime(seconds: 0))
            #expect(finding.lookups <= 10 && finding.voidLookups <= 3 && finding.chain.count <= 12)
            // A record for each look-up, ten hosts for each MX, ten names of the client, and an explanation.
            #expect(questions(dns) <= 1 + 10 * 11 + 11 + 1)
            #expect(finding.explanation?.utf8.allSatisfy { (0x20...0x7E).contains($0) } ?? true)
            #expect(finding.explanation == nil || finding.result == .fail)
        }
    }
}
