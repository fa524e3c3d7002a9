// Two MX hosts that share a store act as one; and when the store is dead, hung, slow or full, or fails over, each goes
// on by itself: no message is lost, nobody is refused for good.

import Foundation
import Glibc
import PostfixHarness
import Testing

extension EndToEnd {
    @Suite("two hosts, one store", .enabled(if: RedisInstance.isAvailable, "needs Debian's redis-server"))
    struct TwoHosts {
        @Test("who was asked to come back by one host is let in by the other, and is known to both")
        func greylist() throws {
            let redis = try RedisInstance()
            let host = try FleetHost(url: redis.url)
            #expect(try host.mx1.rcpt("203.0.113.7").code == 450)
            try Await.until("the end of the wait") { try host.mx2.rcpt("203.0.113.7").isPositive }
            // Known: another sender of that network needs not wait, at either host.
            #expect(try host.mx1.rcpt("203.0.113.8", from: "cy@example.net").isPositive)
            #expect(try host.mx2.rcpt("203.0.113.9", from: "di@example.net").isPositive)
            let keys = try redis.keys()
            #expect(!keys.isEmpty && keys.allSatisfy { $0.hasPrefix("postern:") }, "\(keys)")
            // What one host's admin makes it forget is forgotten by both.
            #expect(try host.mx2.postern(["greylist", "forget", "203.0.113.7"]).status == 0)
            #expect(try host.mx1.rcpt("203.0.113.7", from: "ed@example.net").code == 450)
            #expect(host.troubles == [])
        }

        @Test("what one host has counted is counted at the other")
        func limits() throws {
            let redis = try RedisInstance()
            let host = try FleetHost(url: redis.url)
            for mx in host.both { #expect(try mx.postern(["greylist", "allow", "192.0.2.7"]).status == 0) }
            for mx in host.both + host.both { #expect(try mx.send("192.0.2.7").queueID != nil) }
            for mx in host.both {
                let reply = try mx.rcpt("192.0.2.7")
                #expect(reply.code == 450 && "\(reply)".contains("Slow down"), "\(reply)")
            }
            #expect(try host.mx2.postern(["limit", "clear", "192.0.2.7"]).status == 0)
            #expect(try host.mx1.rcpt("192.0.2.7").isPositive)
        }

        @Test("one host dies: the other knows what both have learnt and counted")
        func oneDies() throws {
            let redis = try RedisInstance()
            let host = try FleetHost(url: redis.url)
            #expect(try host.mx1.postern(["greylist", "allow", "192.0.2.7"]).status == 0)
            for _ in 0..<3 { #expect(try host.mx1.send("192.0.2.7").queueID != nil) }
            #expect(try host.mx1.rcpt("203.0.113.7").code == 450)
            host.mx1.die()
            try Await.until("the end of the wait") { try host.mx2.rcpt("203.0.113.7").isPositive }
            #expect(try host.mx2.send("192.0.2.7").queueID != nil)
            #expect(try host.mx2.rcpt("192.0.2.7").code == 450)
        }

        @Test("the store is killed, restarted, hung, slow and full under load: each host decides by itself meanwhile")
        func outages() throws {
            let redis = try RedisInstance(options: ["maxmemory 100mb", "maxmemory-policy noeviction"])
            let proxy = try DelayingProxy(to: redis.port)
            defer { proxy.end() }
            let host = try FleetHost(url: "redis://127.0.0.1:\(proxy.port)/0", timeout: "150ms")
            try host.awaitSharing()
            let load = FleetLoad(host)
            load.start()
            defer { load.stop() }
            try load.awaitTries(40)
            /// While `begin` holds hosts decide by themselves; after `end` they share again.
            func outage(_ what: String, _ begin: () throws -> Void, _ end: () throws -> Void) throws {
                let (before, tries) = (try host.localDecisions(), load.tries)
                try begin()
                try Await.until("\(what) to be noticed") { try host.localDecisions() > before }
                try load.awaitTries(40)
                try end()
                try host.awaitAnswers()
                let local = try host.localDecisions() - before
                print("\(what): \(local) decisions of its own, of \(load.tries - tries) tries")
            }
            try outage("killed", { redis.kill() }, { try redis.start() })
            try outage("hung", { redis.pause() }, { redis.resume() })
            try outage("slow", { proxy.delay(.milliseconds(200)) }, { proxy.delay(.zero) })
            try outage(
                "full", { try redis.command("CONFIG", "SET", "maxmemory", "1mb") },
                { try redis.command("CONFIG", "SET", "maxmemory", "100mb") })
            load.stop()
            #expect(load.wrong == [])
            for mx in host.both {
                #expect(!load.accepted(at: mx).isEmpty)
                try mx.awaitDelivery(of: load.accepted(at: mx))
            }
            // One warning an outage and a daemon, and each told when it was over.
            let lines = host.both.flatMap { $0.policy.lines + $0.rate.lines }
            #expect(lines.contains { $0.contains("it answers again after") && $0.contains("this host's own") })
            #expect(host.troubles.allSatisfy { $0.contains("]: warning: ") }, "\(host.troubles)")
        }

        @Test("Sentinels choose another master under load: nothing is lost, and the fleet shares again")
        func failover() throws {
            let master = try RedisInstance()
            let replica = try RedisInstance(replicaOf: master)
            try replica.awaitMaster()
            let watchers = try RedisInstance.sentinels(3, of: master, name: "main", quorum: 2)
            let servers = watchers.map { "127.0.0.1:\($0.port)" }.joined(separator: ",")
            let host = try FleetHost(url: "redis+sentinel://\(servers)/main", timeout: "500ms")
            try host.awaitSharing()
            // Known before: it stays so, since a replica had it.
            #expect(try host.mx1.postern(["greylist", "allow", "203.0.113.0/24"]).status == 0)
            try Await.until("the replica to have it") { try replica.keys("postern:greylist:*").isEmpty == false }
            let load = FleetLoad(host)
            load.start()
            defer { load.stop() }
            try load.awaitTries(40)
            let before = try host.localDecisions()
            master.kill()
            try Await.until("the failure to be noticed") { try host.localDecisions() > before }
            try host.awaitAnswers()
            let local = try host.localDecisions() - before
            load.stop()
            print("failover: \(local) local decisions")
            #expect(load.wrong == [])
            for mx in host.both {
                try mx.awaitDelivery(of: load.accepted(at: mx))
                // A store that is late now and then leaves some decisions to a host that does not know the network.
                var number = 0
                try Await.until("mail of the known network") {
                    number += 1
                    return try mx.rcpt("203.0.113.77", from: "known\(number)@example.net").isPositive
                }
            }
        }
    }
}
