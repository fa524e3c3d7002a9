// The DNS cache: any order of what an event loop does with it, held against a plain list of what was stored; and its
// snapshots, which are a file that anybody may have damaged.

import PosternMail

@testable import PosternDNS

/// What a cache was told about one question.
private struct Told {
    var body: ResponseBody
    var stored: UnixTime
    var expires: UnixTime
    var ends: UnixTime
}

/// Bounds, then steps of three octets: what is done, for which question, with which number.
@Sendable func fuzzCache(_ input: inout FuzzInput) {
    func settings(_ octet: UInt8) -> Cache.Settings {
        Cache.Settings(
            octets: Int(octet >> 3) * 400, entries: [0, 1, 3, 100][Int(octet & 3)],
            bounds: Cache.Bounds(
                ttlMin: .seconds(octet & 4 == 0 ? 0 : 20), ttlMax: .seconds(50_000),
                stale: .seconds(octet & 8 == 0 ? 0 : 1000)))
    }
    let names = ["", "a", "b.a", "c.b.a", "d", "e.d", "f", "g"].map { name in
        certain("a name") { try name.isEmpty ? DomainName.root : DomainName(name) }
    }
    var cache = Cache(settings(input.octet()))
    var told: [Question: Told] = [:]
    var failed: [Question: UnixTime] = [:]
    var now = UnixTime(seconds: 1000)
    var steps = 0
    while !input.rest.isEmpty, steps < 2000 {
        steps += 1
        let step = input.octet()
        let choice = input.octet()
        let number = UInt32(input.octet())
        let question = Question(names[Int(choice & 7)], choice & 8 == 0 ? .a : .txt)
        switch step & 7 {
        case 0: now = now + .seconds(Int64(number * number))
        case 1, 2:
            let record = ResourceRecord(
                owner: question.name, type: question.type, ttl: number * number,
                octets: [UInt8](repeating: 1, count: Int(step >> 3) * 20))
            let rcode: ResponseCode = choice & 0x10 == 0 ? .noError : choice & 0x20 == 0 ? .nameError : .serverFailure
            let body = ResponseBody(
                question: question, rcode: rcode, answers: rcode == .noError && choice & 0x20 == 0 ? [record] : [],
                isAuthenticated: choice & 0x40 != 0)
            let bounds = cache.settings.bounds
            cache.store(body, for: question, ttl: record.ttl, now: now)
            let expires = now + min(max(.seconds(record.ttl), bounds.ttlMin), bounds.most(body))
            let ends = expires + (body.answersNothing ? .zero : bounds.stale)
            let isKept = record.ttl > 0 && rcode != .serverFailure
            if isKept {
                told[question] = Told(body: bounds.limited(body), stored: now, expires: expires, ends: ends)
            } else if !isLastMoment(body, of: told[question], question, now) {
                told[question] = nil
            }
            failed[question] = nil
        case 3:
            cache.fail(question, now: now)
            failed[question] = now
        case 4: cache.adopt(settings(UInt8(number)))
        case 5:
            if choice & 0x70 == 0 { cache.removeAll() }
            for round in Cache.Round.allCases { _ = cache.part(round, from: Int(number), atMost: 5, now: now) }
        default:
            if let found = cache.find(question, now: now) { check(found, question, told, failed, now) }
        }
        require(cache.octetsInUse <= cache.settings.octets, "\(cache.octetsInUse) octets in use")
        require(cache.count <= cache.settings.entries, "\(cache.count) entries")
        require(cache.octetsInUse >= cache.count * Cache.entryOverhead, "\(cache.octetsInUse) for \(cache.count)")
        require(cache.count > 0 || cache.octetsInUse == 0, "\(cache.octetsInUse) for none")
    }
}

/// With TTL 0 what is stale already: it stays.
private func isLastMoment(_ body: ResponseBody, of told: Told?, _ question: Question, _ now: UnixTime) -> Bool {
    guard let told, now >= told.expires, body.rcode == .noError, told.body.rcode == .noError else { return false }
    func said(_ body: ResponseBody) -> [[UInt8]] { body.resolution(of: question, elapsed: 0).records.map(\.octets) }
    return said(body) == said(told.body)
}

private func check(
    _ found: Cache.Found, _ question: Question, _ told: [Question: Told], _ failed: [Question: UnixTime],
    _ now: UnixTime
) {
    let own = told[question]
    switch found.source {
    case .fresh:
        require(own.map { $0.body == found.body && now < $0.expires } ?? false, "\(question) was not told so")
        let age = (now - (own?.stored ?? now)).components.seconds
        require(Int64(found.elapsed) == age, "\(question) is \(age) seconds old, not \(found.elapsed)")
    case .cut:  // RFC 8020 §2
        let isTold = told.contains { asked, told in
            told.body.rcode == .nameError && told.body.isAuthenticated && now < told.expires
                && question.name.isEqualOrBelow(asked.name)
        }
        require(isTold && found.body.rcode == .nameError, "\(question) is below no name that does not exist")
    case .stale:
        require(own.map { now >= $0.expires && now < $0.ends } ?? false, "\(question) is not stale")
        require(own.map { $0.body.settingTTLs(to: Cache.staleTTL) == found.body } ?? false, "another stale answer")
    case .failure:
        let failure = failed[question].map { now < $0 + Cache.failureTTLWhenStale } ?? false
        require(failure && found.body.rcode == .serverFailure, "\(question) has not failed")
    }
}

/// How old it is; then a file as it is, or entries to which the rest of a file is made.
@Sendable func fuzzSnapshot(_ input: inout FuzzInput) {
    let choice = input.octet()
    let now = UnixTime(seconds: 1_790_000_000)
    let age = Int64(choice >> 3) * 100 - 20
    var octets = input.remainder()
    if choice & 1 == 0 {
        var writer = CacheSnapshot.Writer(saved: UnixTime(seconds: 1_790_000_000 - age))
        octets = writer.take() + octets
        let count = UInt32(choice >> 1 & 3)
        octets += [0, 0, 0, UInt8(count)]
        var sum = Checksum()
        sum.add(octets[...])
        octets += (0..<8).reversed().map { UInt8(truncatingIfNeeded: sum.value >> UInt64($0 * 8)) }
    }
    let entries: [CacheSnapshot.Entry]
    do throws(CacheSnapshotError) { entries = try CacheSnapshot.entries(in: octets, now: now) } catch {
        require(error.description.isOnePlainLine, "error \(error)")
        return
    }
    var writer = CacheSnapshot.Writer(saved: now)
    for entry in entries {
        require(entry.left >= .zero && entry.staleLeft >= .zero, "\(entry.question) for \(entry.left)")
        require(entry.left + entry.staleLeft > .zero, "\(entry.question) is of no use")
        require(entry.body.rcode == .noError || entry.body.rcode == .nameError, "\(entry.question) \(entry.body.rcode)")
        require(writer.append(entry), "no room for \(entry.question)")
    }
    let written = writer.finish()
    // A body that grew beyond a message when its names were written out in full is cut.
    if entries.allSatisfy({ $0.body.octets.count < 60_000 }) {
        let again = certain("our own snapshot") { try CacheSnapshot.entries(in: written, now: now) }
        require(again == entries, "\(entries.count) entries written, \(again.count) read")
    }
    var cache = Cache(Cache.Settings(octets: 4000, entries: 3))
    for entry in entries {
        guard cache.restore(entry, now: now, bounds: Cache.Bounds()) else { continue }
        require(cache.octetsInUse <= 4000 && cache.count <= 3, "\(cache.octetsInUse) octets, \(cache.count)")
        _ = cache.find(entry.question, now: now)
    }
}
