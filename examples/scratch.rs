use minoise::device::*; use minoise::kernels::gemm::*; use std::time::Instant;
fn main(){
 let d=Device::open(&Selector::from_flag_or_env(None)).unwrap(); println!("{}",d.name());
 for (l,m,n,k,act) in [(Layout::NN,4352,288,96,0),(Layout::NN,4352,96,96,0),(Layout::NN,4352,384,96,1),(Layout::NN,4352,384,96,0),(Layout::NN,4352,96,384,0),(Layout::NT,1088,384,96,0),(Layout::NT,1088,96,384,0),(Layout::NT,1088,96,288,0),(Layout::TN,48,96,1088,0),(Layout::NN,256,2048,96,0),(Layout::NT,256,100,2048,0),(Layout::TN,2048,2048,256,2),(Layout::NN,768,768,768,0)]{
  let x:Vec<f32>=(0..m.max(n)*k).map(|i|((i*7919)%1000) as f32/1000.0-0.5).collect();
  let sa=if l==Layout::TN{[k,m]}else{[m,k]}; let sb=if l==Layout::NT{[n,k]}else{[k,n]};
  let a=d.upload(&x[..m*k],&sa).unwrap(); let b=d.upload(&x[..n*k],&sb).unwrap(); let o=d.reals(&[m,n]).unwrap();
  let g=Gemm{activation:if act==1{Activation::Gelu}else{Activation::None},lower:act==2,accumulate:act==2,..Gemm::new(l,&a,&b,&o).unwrap()};
  d.run(&g).unwrap(); pollster::block_on(d.finish()).unwrap();
  let mut best=f64::MAX; for _ in 0..5{ let t=Instant::now(); for _ in 0..4 {d.run(&g).unwrap();} pollster::block_on(d.finish()).unwrap(); best=best.min(t.elapsed().as_secs_f64()/4.0);}
  println!("{l:?} {m}x{n}x{k} act {act}: {:.2} ms {:.1} GF/s",best*1e3,2.0*(m*n*k) as f64/best/1e9);
 }
}
